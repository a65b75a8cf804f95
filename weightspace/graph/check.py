"""The laws of a parameter graph, tried on a user's own network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import places, relabel, relabel_only

TOLERANCE = 1e-9
VISIBLE = 1e-6
DRAWS = 8
NARROW = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class AxisCheck:
    """What relabelling one hidden axis did.

    Args:
        axis: Its name.
        error: Largest difference of the outputs, relative to their largest value.
        moved: Whether any stored number changed its place.
        unnoticed: Dimensions `(tensor, dimension)` whose relabelling alone did not change the outputs.
    """

    axis: str
    error: float
    moved: bool
    unnoticed: tuple[tuple[str, int], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the function was kept, and the check could have failed."""
        return self.moved and self.error <= TOLERANCE


@dataclass(frozen=True)
class GraphCheck:
    """Verdict on a graph; `str()` of it is for people.

    Args:
        axes: One entry a hidden axis of at least two units.
        together: Error after relabelling all of them at once.
        finite: Whether the randomised network's outputs were finite numbers.
    """

    axes: tuple[AxisCheck, ...]
    together: float
    finite: bool

    @property
    def passed(self) -> bool:
        """Whether every hidden axis may really be relabelled."""
        return self.finite and self.together <= TOLERANCE and all(axis.passed for axis in self.axes)

    @property
    def unnoticed(self) -> tuple[tuple[str, int], ...]:
        """Dimensions tied without visible need: a key's bias under softmax, or a check that is blind there."""
        return tuple(place for axis in self.axes for place in axis.unnoticed)

    def __str__(self) -> str:
        lines = [f"{'passed' if self.passed else 'FAILED'}: {len(self.axes)} hidden axes, together {self.together:.1e}"]
        for axis in self.axes:
            word = "ok" if axis.passed else "changes the outputs" if axis.moved else "moves nothing"
            lines.append(f"  {axis.axis}: {word}, error {axis.error:.1e}")
            lines += [f"    breaking {tensor} dimension {d} alone goes unnoticed" for tensor, d in axis.unnoticed]
        if not self.finite:
            lines.append("The randomised network returns infinite numbers or NaN. Give inputs of its usual size.")
        elif not self.passed:
            lines.append(
                "An axis that fails is not free. Trace with inputs of full length; if it still fails, "
                "report the module: trace_graph must fix what it does not understand."
            )
        return "\n".join(lines)


def check_graph(graph: ParameterGraph, module: nn.Module, args: tuple[Any, ...], *, seed: int = 0) -> GraphCheck:
    """Try the laws on a float64 copy of the module with all weights and norm statistics drawn at random.

    Relabelling every hidden axis, each alone and all together, must keep the outputs to 1e-9 relative; breaking one
    side of a tie must change them. (With the weights that a module starts from most mistakes go unnoticed.)

    Args:
        graph: Of this module, traced or inferred.
        module: Not changed.
        args: Inputs; floats are drawn anew in the same shapes, integers are used as given.
        seed: Of all random draws.

    Raises:
        GraphError: The graph names tensors that the module does not have, or `args` don't run.
    """
    generator = Generator().manual_seed(seed)
    trial = _Trial(graph, module, args, generator)
    trial.draw()
    before = trial.outputs(trial.checkpoint)
    orders = random_permutations(graph, generator=generator)
    together = difference(before, trial.outputs(relabel(trial.checkpoint, graph, orders)))
    checks = [trial.check(name, order, before) for name, order in orders.items()]
    finite = all(bool(t.isfinite().all()) for t in before)
    blind = trial.unnoticed(orders)
    return GraphCheck(tuple(replace(c, unnoticed=blind.get(c.axis, ())) for c in checks), together, finite)


def difference(before: list[Tensor], after: list[Tensor]) -> float:
    """Largest difference of two outputs, relative to the largest value of each; NaN counts as infinite."""
    worst = 0.0
    for a, b in zip(before, after, strict=True):
        if a.numel():
            a, b = (x if x.is_complex() else x.double() for x in (a, b))
            found = float((a - b).abs().max() / a.abs().max().clamp_min(1e-300))
            worst = max(worst, found if found == found else float("inf"))
    return worst


def randomise(module: nn.Module, kinds: Mapping[str, str], generator: Generator) -> None:
    """Draw all parameters and norm statistics of a module anew, in place, so that no two units are alike."""
    with torch.no_grad():
        statistics = [(name, b) for name, b in module.named_buffers() if kinds.get(name, "").startswith("running")]
        for name, tensor in [*module.named_parameters(), *statistics]:
            kind = kinds.get(name, "")
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if kind == "running variance":
                noise = 0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            elif kind in ("norm scale", "scale", "slope"):
                noise = 1 + 0.3 * noise
            elif tensor.ndim > 1:
                noise = noise * (tensor.shape[0] / tensor.numel()) ** 0.5
            tensor.copy_(noise)


class _InDouble(TorchDispatchMode):
    """Let what a module computes in fewer digits (a norm that turns to float32) be computed in float64 as well.

    Rounding is no part of the law, and 1e-9 is beyond float32.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        narrow = {key for key, value in named.items() if isinstance(value, torch.dtype) and value in NARROW}
        return func(*args, **{key: torch.float64 if key in narrow else value for key, value in named.items()})


class _Trial:
    """One randomised copy of a module, run again and again with other tensors."""

    def __init__(self, graph: ParameterGraph, module: nn.Module, args: tuple[Any, ...], generator: Generator):
        self.graph = graph
        self.module = copy.deepcopy(module)
        if any(t.is_meta for t in self.module.parameters()):
            self.module = self.module.to_empty(device="cpu")
        self.module, self.given, self.generator = self.module.cpu().double().eval(), args, generator
        tensors = self.module.state_dict()
        missing = [name for name in graph.blocks if name not in tensors]
        if missing:
            raise GraphError(f"the graph has blocks that {type(module).__name__} does not have: {missing[:5]}.")

    def draw(self) -> None:
        """Draw weights and inputs anew."""
        randomise(self.module, {b.tensor: b.kind for b in self.graph.blocks.values()}, self.generator)
        self.args = tree_map(lambda a: self._input(a, self.generator), self.given)
        shared = self.graph.shared
        tensors = {k: v.clone() for k, v in self.module.state_dict().items() if k not in shared}
        self.checkpoint = Checkpoint(tensors, shared=shared)

    @staticmethod
    def _input(item: Any, generator: Generator) -> Any:
        if isinstance(item, Tensor) and item.is_floating_point():
            return torch.randn(item.shape, generator=generator, dtype=torch.float64)
        return item.cpu() if isinstance(item, Tensor) else item

    def outputs(self, checkpoint: Checkpoint) -> list[Tensor]:
        self.module.load_state_dict(dict(checkpoint.tensors), strict=False)
        try:
            with torch.no_grad(), _InDouble():
                found = self.module(*self.args)
        except Exception as error:  # a user's module may raise anything
            name, kind = type(self.module).__name__, type(error).__name__
            raise GraphError(
                f"{name} does not run on these args ({kind}: {error}). Pass a tuple with which module(*args) works."
            ) from error
        return [t for t in tree_flatten(found)[0] if isinstance(t, Tensor)]

    def check(self, axis: str, order: Tensor, before: list[Tensor]) -> AxisCheck:
        changed = relabel(self.checkpoint, self.graph, {axis: order})
        moved = any(not torch.equal(changed.tensors[k], v) for k, v in self.checkpoint.tensors.items())
        error = difference(before, self.outputs(changed))
        return AxisCheck(axis, error, moved)

    def unnoticed(self, orders: Mapping[str, Tensor]) -> dict[str, tuple[tuple[str, int], ...]]:
        """Sides of ties whose breaking changed nothing in any draw; a unit may be switched off in one of them."""
        left = {axis: sides for axis in orders if len(sides := places(self.graph, axis)) > 1}
        for _ in range(DRAWS):
            before = self.outputs(self.checkpoint)
            blind = {a: tuple(s for s in sides if self._is_blind(a, orders[a], s, before)) for a, sides in left.items()}
            left = {axis: sides for axis, sides in blind.items() if sides}
            if not left:
                break
            self.draw()
        return left

    def _is_blind(self, axis: str, order: Tensor, side: tuple[str, int], before: list[Tensor]) -> bool:
        broken = relabel_only(self.checkpoint, self.graph, {axis: order}, [side])
        return difference(before, self.outputs(broken)) <= VISIBLE
