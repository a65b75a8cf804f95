"""A checkpoint that carries its program becomes a module, and a module such a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor, nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import ArchitectureError
from weightspace.graph.trace.capture import capture_program
from weightspace.graph.trace.literals import Literals, Ref, unpack
from weightspace.graph.trace.program import Node, Program, Slot, operator_of


def from_module(module: nn.Module, args: tuple[Any, ...]) -> Checkpoint:
    """Return the weights of `module` with its program in `metadata["architecture"]`; `to_module` is the inverse.

    Args:
        module: Captured in evaluation mode, not changed.
        args: Example inputs as for `torch.export`; only their shapes and dtypes count.

    Raises:
        TraceError: The module can't be exported.
    """
    checkpoint, program = load_checkpoint(module), capture_program(module, args)
    return replace(checkpoint, metadata={**checkpoint.metadata, "architecture": program.to_json()})


def to_module(checkpoint: Checkpoint) -> nn.Module:
    """Return a module that computes what the checkpoint's network computes, in evaluation mode.

    It holds copies of the weights under their names, is differentiable in them and runs in their precision, on
    whatever device it is moved to. The program is read as data: only operators of core ATen are ever called.

    Raises:
        ArchitectureError: The checkpoint names no program, or one that does not fit its tensors.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> again = to_module(from_module(net, (torch.ones(2, 2),)))
        >>> bool(again(torch.ones(3, 2)).allclose(net(torch.ones(3, 2))))
        True
    """
    text = checkpoint.metadata.get("architecture")
    if text is None:
        raise ArchitectureError(
            f"{checkpoint.source}: its metadata holds no 'architecture', so it cannot be run. Build the module it was "
            "trained as, load the weights, and use from_module(module, args)."
        )
    return ProgramModule(Program.from_json(text), checkpoint).eval()


@final
class ProgramModule(nn.Module):
    """Interprets a program on the weights of a checkpoint."""

    def __init__(self, program: Program, checkpoint: Checkpoint):
        super().__init__()
        if not program.runs:
            large = [slot.target for slot in program.slots if slot.role == "constant" and not slot.data]
            raise ArchitectureError(
                f"{checkpoint.source}: the program does not hold the constants {large[:5]}. Register them as "
                "persistent buffers and use from_module(module, args) again."
            )
        self._program = program
        self._inputs = [slot for slot in program.slots if slot.role == "input"]
        self._targets = {s.name: s.target for s in program.slots if s.role in ("parameter", "buffer")}
        self._hold(program, checkpoint)

    def _hold(self, program: Program, checkpoint: Checkpoint) -> None:
        held: dict[str, Tensor] = {}
        for slot in program.slots:
            if slot.role == "constant":
                numbers = unpack(slot.data, slot.value.shape, slot.value.dtype)
                self.register_buffer(f"_constant_{slot.name}", numbers, persistent=False)
            elif slot.role != "input" and slot.target not in held:
                held[slot.target] = _copy(checkpoint, slot)
        stored = {checkpoint.shared.get(name, name) for name in held}
        held |= {name: tensor.clone() for name, tensor in checkpoint.tensors.items() if name not in stored}
        held |= {alias: held[name] for alias, name in program.shared.items() if name in held}
        for name, tensor in held.items():
            _place(self, name, tensor)

    def forward(self, *args: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return what the network returns; several outputs come flattened, as a tuple."""
        values: dict[Ref, Any] = self._start(args)
        weights = [v for name in self._targets if (v := values[Ref(name)]).is_floating_point()]
        anchor = next(iter([*weights, *args]), torch.empty(0))
        for node in self._program.nodes:
            result = _run(node, values, self._dtypes(anchor.dtype), anchor.device)
            if len(node.values) > 1:
                values |= {Ref(node.name, i): part for i, part in enumerate(result)}
            else:
                values[Ref(node.name)] = result
        with torch.no_grad():
            for target, ref in self._program.updates.items():
                _find(self, target).copy_(values[ref])
        outputs = tuple(values[ref] for ref in self._program.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _start(self, args: tuple[Tensor, ...]) -> dict[Ref, Any]:
        shapes = [tuple(a.shape) for a in args]
        if len(args) != len(self._inputs) or not all(map(_accepts, self._inputs, shapes)):
            wanted = [("batch", *s.value.shape[1:]) if s.batched else s.value.shape for s in self._inputs]
            raise ArchitectureError(f"the network takes inputs of shapes {wanted}, not {shapes}. See Program.slots.")
        values = {Ref(slot.name): arg for slot, arg in zip(self._inputs, args, strict=True)}
        values |= {Ref(name): _find(self, target) for name, target in self._targets.items()}
        constants = [slot.name for slot in self._program.slots if slot.role == "constant"]
        return values | {Ref(name): getattr(self, f"_constant_{name}") for name in constants}

    def _dtypes(self, dtype: torch.dtype) -> dict[torch.dtype, torch.dtype]:
        """Precision of the capture to the one of the weights now."""
        floats = [s.value.dtype for s in self._program.slots if s.name in self._targets and s.value.is_float]
        return {Literals.dtypes[floats[0]]: dtype} if floats else {}


def _accepts(slot: Slot, shape: tuple[int, ...]) -> bool:
    expected = slot.value.shape
    return len(shape) == len(expected) and shape[slot.batched :] == expected[slot.batched :]


def _copy(checkpoint: Checkpoint, slot: Slot) -> Tensor:
    found = checkpoint.tensors.get(checkpoint.shared.get(slot.target, slot.target))
    if found is None or tuple(found.shape) != slot.value.shape:
        raise ArchitectureError(
            f"{checkpoint.source}: the program needs a tensor {slot.target!r} of shape {slot.value.shape}, the "
            f"checkpoint has {tuple(found.shape) if found is not None else 'no such tensor'}."
        )
    trained = slot.role == "parameter" and found.is_floating_point()
    return nn.Parameter(found.clone()) if trained else found.clone()


def _place(root: nn.Module, name: str, tensor: Tensor) -> None:
    """Register a tensor under its dotted name."""
    *path, last = name.split(".")
    try:
        for part in path:
            if part not in root._modules:
                root.add_module(part, nn.Module())
            root = root.get_submodule(part)
        if isinstance(tensor, nn.Parameter):
            root.register_parameter(last, tensor)
        else:
            root.register_buffer(last, tensor)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArchitectureError(f"tensor {name!r} cannot be held by a module ({error}). Rename it.") from error


def _find(module: nn.Module, name: str) -> Tensor:
    path, _, last = name.rpartition(".")
    found = getattr(module.get_submodule(path), last)
    assert isinstance(found, Tensor)
    return found


_INSTEAD = {"aten.view.default": torch.ops.aten.reshape.default, "aten.sym_size.int": torch.Tensor.size}
"""What is run in the place of operations: a view becomes a reshape, since another precision or device may lay its input
out otherwise, and a size is asked of the tensor, since `vmap` knows no rule for it where inputs are batched."""


def _run(node: Node, values: Mapping[Ref, Any], dtypes: Mapping[torch.dtype, torch.dtype], device: torch.device) -> Any:
    """Result of one operation."""
    operator: Any = _INSTEAD.get(node.op) or operator_of(node.op)
    kwargs = {name: _filled(item, values, dtypes) for name, item in node.kwargs.items()}
    schema = getattr(operator, "_schema", None)
    if schema is not None and any(a.name == "device" for a in schema.arguments):
        kwargs["device"] = device
    try:
        return operator(*(_filled(item, values, dtypes) for item in node.args), **kwargs)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        raise ArchitectureError(
            f"operation {node.name!r} ({node.op}, in module {node.scope!r}) failed: {str(error).strip()[:300]}"
        ) from error


def _filled(item: Any, values: Mapping[Ref, Any], dtypes: Mapping[torch.dtype, torch.dtype]) -> Any:
    """Put results in the place of references, and the running precision in the place of the captured one."""
    if isinstance(item, Ref):
        return values[item]
    if isinstance(item, torch.dtype):
        return dtypes.get(item, item)
    return [_filled(part, values, dtypes) for part in item] if isinstance(item, tuple) else item
