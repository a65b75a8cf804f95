"""The graph of a checkpoint that a transformers `config.json` describes: built without weights, traced, matched."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from weightspace.checkpoint.header import Header
from weightspace.errors import ArchitectureError, WeightspaceError
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.infer import infer_graph
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.capture import capture_program

LENGTH = 8
"""Words in the example: which of them are used does not change what the units are."""
_SENT_ELSEWHERE = frozenset(
    ("auto_map", "quantization_config", "compression_config", "use_kernels", "torch_dtype", "dtype")
)


def config_graph(header: Header) -> ParameterGraph:
    """Return the graph traced from the model that `metadata["config"]` describes.

    Only model classes of the installed transformers package are built, on the meta device; code that a repository
    brings along is neither fetched nor run, whatever its configuration asks for.

    Args:
        header: Its metadata hold the text of a `config.json`.

    Raises:
        ArchitectureError: transformers is not installed, does not know the model, cannot build or trace it, or the
            model has other tensors than the checkpoint.
    """
    try:
        import transformers
    except ImportError:
        raise ArchitectureError("transformers is not installed: pip install 'weightspace[transformers]'.") from None
    config = _configuration(transformers, header.metadata["config"])
    reasons = []
    for kind in _classes(transformers, config):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _traced(kind, config, header)
        except WeightspaceError as error:
            reasons.append(str(error))
        except Exception as error:  # a configuration may lead a model class to any error
            reasons.append(f"{kind.__name__} cannot be built: {type(error).__name__}: {str(error)[:200]}")
    raise ArchitectureError(" ".join(reasons) or f"no model class for {type(config).__name__}.")


def _configuration(transformers: Any, text: str) -> Any:
    try:
        given = json.loads(text)
        kind = given["model_type"]
        known = kind in transformers.CONFIG_MAPPING
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ArchitectureError("its config.json names no model_type of transformers.") from None
    if not known:
        raise ArchitectureError(f"transformers {transformers.__version__} does not know the model type {kind!r}.")
    try:
        return transformers.CONFIG_MAPPING[kind].from_dict(_harmless(given))
    except Exception as error:  # as above
        raise ArchitectureError(f"its config.json is not one of {kind}: {type(error).__name__}: {error}") from None


def _harmless(given: Any) -> Any:
    """The configuration without what asks for other code, kernels or number formats."""
    if isinstance(given, dict):
        kept = {k: v for k, v in given.items() if k not in _SENT_ELSEWHERE and not str(k).endswith("_implementation")}
        return {key: _harmless(value) for key, value in kept.items()}
    return [_harmless(item) for item in given] if isinstance(given, list) else given


def _classes(transformers: Any, config: Any) -> Iterator[Any]:
    """The class that the configuration names, then the bare model."""
    for name in (*(config.architectures or ())[:1], None):
        mapping = transformers.MODEL_MAPPING
        found = (
            getattr(transformers, str(name), None)
            if name
            else mapping[type(config)]
            if type(config) in mapping
            else None
        )
        if inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel):
            yield found


class _Plain(nn.Module):
    """A model that takes its example by position and returns tensors; not those inside of it that it hands out too."""

    def __init__(self, model: Any, names: tuple[str, ...]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *args: Tensor) -> tuple[Tensor, ...]:
        found = self.model(**dict(zip(self.names, args, strict=True)), return_dict=True)
        own = (value for key, value in found.items() if not key.startswith("encoder_"))
        return tuple(value for value in own if isinstance(value, Tensor))


def _traced(kind: Any, config: Any, header: Header) -> ParameterGraph:
    config.use_cache = False
    with torch.device("meta"):
        model = kind._from_config(config, attn_implementation="eager")
    if model.num_parameters() > 4 * max(header.weights, 1):
        raise ArchitectureError(f"{kind.__name__} would have {model.num_parameters()} weights, not {header.weights}.")
    plain = _Plain(model, tuple(_example(model, config)))
    names = _matched(model, header)
    program = capture_program(plain, tuple(_example(model, config).values()))
    renamed = {f"model.{own}": name for own, name in names.items()}
    slots = tuple(replace(slot, target=renamed.get(slot.target, slot.target)) for slot in program.slots)
    shared = {renamed.get(alias, alias): renamed.get(name, name) for alias, name in program.shared.items()}
    graph = trace_program(replace(program, slots=slots, shared=shared, updates={}))
    return _completed(graph, header)


def _example(model: Any, config: Any) -> dict[str, Tensor]:
    words = torch.zeros(2, LENGTH, dtype=torch.long)
    if model.main_input_name == "input_ids":
        both = {"input_ids": words, "decoder_input_ids": words}
        return both if config.is_encoder_decoder else {"input_ids": words}
    if model.main_input_name == "pixel_values" and isinstance(getattr(config, "image_size", None), int):
        return {
            "pixel_values": torch.zeros(2, getattr(config, "num_channels", 3), config.image_size, config.image_size)
        }
    raise ArchitectureError(f"{type(model).__name__} takes {model.main_input_name}, of which no example is known here.")


def _matched(model: Any, header: Header) -> dict[str, str]:
    """Name in the checkpoint of each tensor of the model, with or without the prefix of its inner model.

    Raises:
        ArchitectureError: Some tensor is missing or has another shape.
    """
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    stored = {name: info.shape for name, info in header.tensors.items()}
    stored |= {alias: stored[name] for alias, name in header.shared.items()}
    prefix = f"{model.base_model_prefix}."
    renamings = (lambda name: name), (lambda name: name.removeprefix(prefix)), (lambda name: prefix + name)
    tied = _tied(model)
    missing: list[str] = []
    for rename in renamings:
        names = {name: rename(name) for name in own}
        off = [n for n, new in names.items() if stored.get(new, None if n in tied else ()) not in (own[n], None)]
        off += [n for n, new in names.items() if new not in stored and n not in tied]
        if not off:
            return names
        missing = missing or off
    raise ArchitectureError(
        f"{type(model).__name__}: {len(missing)} of its tensors are not in the checkpoint, {missing[0]!r} of shape "
        f"{own[missing[0]]} for one."
    )


def _tied(model: nn.Module) -> set[str]:
    """Names that are another name of a tensor with an earlier one."""
    first = {id(p): name for name, p in reversed(list(model.named_parameters(remove_duplicate=False)))}
    return {name for name, p in model.named_parameters(remove_duplicate=False) if first[id(p)] != name}


def _completed(graph: ParameterGraph, header: Header) -> ParameterGraph:
    """Add blocks of stored tensors that the model makes by itself today: tables of positions without units.

    Raises:
        ArchitectureError: A stored tensor is none of the model's.
    """
    names = {name for name, info in header.tensors.items() if info.is_float}
    known = {*graph.blocks, *graph.shared, *(name for alias, name in header.shared.items() if alias in graph.blocks)}
    left = names - known
    if not left:
        return graph
    inferred: Mapping[str, Any] = infer_graph(header).blocks
    units = sorted(name for name in left if name not in inferred or inferred[name].axes)
    if units:
        raise ArchitectureError(
            f"the model does not have {len(units)} tensors of the checkpoint, {units[0]!r} for one."
        )
    return replace(graph, blocks={**graph.blocks, **{name: inferred[name] for name in sorted(left)}})
