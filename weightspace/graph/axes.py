"""The parameter graph: axes (groups of units) and the blocks (weight tensors) that sit on them.

    Leaf("c")                      one unit of axis c at each position
    Span(49)                       positions that are no units: kernel taps, pixels
    Prod((Leaf("c"), Span(49)))    a flattened feature map, major part first
    Sum((Leaf("a"), Leaf("b")))    a concatenation

Every dimension of every stored tensor carries such a term; two tensors are tied where their terms name the same
axis. This module knows neither torch nor numpy, so that a header alone can be read, inferred and shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from weightspace.errors import GraphError
from weightspace.graph.scaling import Mode, Scaling

if TYPE_CHECKING:
    import torch_geometric.data

    import weightspace.checkpoint.checkpoint

GRAPH_VERSION = 1

Role = Literal["input", "hidden", "output", "fixed"]


@dataclass(frozen=True)
class Axis:
    """A group of units. Every `hidden` axis accepts any permutation of `range(size)`.

    A child axis exists once in each unit of its `parent` (the units of each attention head, the channels of each
    group): `size` counts the units in one parent unit.

    Args:
        name: Unique in its graph.
        size: Units, in one unit of the parent if there is one.
        role: `hidden` units may be relabelled; `input` and `output` units have a meaning outside of the network;
            `fixed` ones keep their order for the stated reason.
        reason: Why a `fixed` axis is fixed; empty where that is not understood.
        parent: Name of the axis in whose units this one lives.
    """

    name: str
    size: int
    role: Role
    reason: str = ""
    parent: str | None = None


@dataclass(frozen=True)
class Leaf:
    """A dimension, or a factor of one, that runs over the units of `axis`."""

    axis: str


@dataclass(frozen=True)
class Span:
    """Positions that are no units and never move: kernel taps, pixels, directions."""

    size: int


@dataclass(frozen=True)
class Prod:
    """Mixed-radix product of `parts`, the major one first, as a reshape makes it."""

    parts: tuple[Term, ...]


@dataclass(frozen=True)
class Sum:
    """Concatenation of `parts` in order."""

    parts: tuple[Term, ...]


Term = Leaf | Span | Prod | Sum


def leaves(term: Term) -> Iterator[Leaf]:
    """Yield every leaf of a term, left to right.

    Example:
        >>> [leaf.axis for leaf in leaves(Sum((Leaf("a"), Prod((Leaf("b"), Span(4))))))]
        ['a', 'b']
    """
    if isinstance(term, Leaf):
        yield term
    elif not isinstance(term, Span):
        for part in term.parts:
            yield from leaves(part)


@dataclass(frozen=True)
class Block:
    """One stored weight tensor and the axes it sits on.

    `view` names each stored dimension: `o` (units written), `i` (units read), `k` (kernel taps). It says how the
    tensor becomes `(out, in, *kernel)`: PyTorch convolutions are `oikk`, TensorFlow's `kkio`, a bias is `o`.

    Args:
        tensor: Name in the checkpoint.
        kind: Name of a layer kind's tensor, e.g. `linear`, `conv`, `bias`, `norm scale`, `opaque`.
        dims: One term for each stored dimension.
        view: One letter for each stored dimension.
        size: How many numbers the tensor holds.
    """

    tensor: str
    kind: str
    dims: tuple[Term, ...]
    view: str
    size: int

    def __post_init__(self) -> None:
        if len(self.view) != len(self.dims) or set(self.view) - set("oik"):
            raise GraphError(
                f"block {self.tensor!r}: view {self.view!r} must have one letter of 'oik' "
                f"for each of its {len(self.dims)} dimensions."
            )

    def _of(self, letter: str) -> Term | None:
        parts = tuple(d for d, v in zip(self.dims, self.view, strict=True) if v == letter)
        return None if not parts else parts[0] if len(parts) == 1 else Prod(parts)

    @property
    def out_axis(self) -> Term | None:
        """Term of the units this block writes, or sits on if it has no `in_axis`."""
        return self._of("o")

    @property
    def in_axis(self) -> Term | None:
        """Term of the units this block reads."""
        return self._of("i")

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of all axes this block touches, in order, each once."""
        return tuple(dict.fromkeys(leaf.axis for dim in self.dims for leaf in leaves(dim)))


@dataclass(frozen=True)
class Stage:
    """Blocks that act together, and what stands between them and the next stage.

    Args:
        name: Module path, or the name of the parameter-free operation.
        op: What the stage computes: `linear`, `conv`, `norm`, `embedding`, `recurrent`, `attention`, ...
        blocks: Tensor names, in the order in which they act.
        after: Parameter-free operations that follow (`relu`, `max_pool`, `add`, ...), as far as known.
        reads: Axes that the operation consumes without a weight (queries times keys, a gate times its partner).
    """

    name: str
    op: str
    blocks: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParameterGraph:
    """Axes, blocks and stages of one architecture. Holds no weights.

    Args:
        axes: By name.
        blocks: By tensor name, one for each stored tensor that holds numbers a relabelling moves or that a network
            computes with; every dimension's size must agree with its axes.
        stages: In the order in which data flows.
        source: `trace` (from the running module) or `infer` (from names and shapes).
        shared: Tensor names that are another name of a block's tensor (tied weights).
        scalings: By hidden axis, for positive factors and for signs; of traced graphs only.
    """

    axes: Mapping[str, Axis]
    blocks: Mapping[str, Block]
    stages: tuple[Stage, ...]
    source: Literal["trace", "infer"]
    shared: Mapping[str, str] = field(default_factory=dict)
    scalings: Mapping[str, Mapping[Mode, Scaling]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in ("axes", "blocks", "shared", "scalings"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for axis in self.axes.values():
            if axis.parent is not None and axis.parent not in self.axes:
                raise GraphError(f"axis {axis.name!r}: its parent {axis.parent!r} is not in the graph.")
        for block in self.blocks.values():
            missing = [name for name in block.axes if name not in self.axes]
            if missing:
                raise GraphError(f"block {block.tensor!r}: axes {missing} are not in the graph.")
            if prod(map(self.length, block.dims)) != block.size:
                raise GraphError(
                    f"block {block.tensor!r}: its dimensions {[self.length(d) for d in block.dims]} "
                    f"do not hold {block.size} numbers."
                )

    def length(self, term: Term) -> int:
        """Positions of a dimension that carries `term`."""
        match term:
            case Leaf(axis):
                return self.axes[axis].size
            case Span(size):
                return size
            case Prod(parts):
                return prod(map(self.length, parts))
            case Sum(parts):
                return sum(map(self.length, parts))

    def count(self, axis: str) -> int:
        """Units of `axis` in the whole network: its size times those of its parents."""
        here = self.axes[axis]
        return here.size * (self.count(here.parent) if here.parent else 1)

    def lineage(self, axis: str) -> tuple[str, ...]:
        """`axis` and its parents, outermost first."""
        parent = self.axes[axis].parent
        return (*(self.lineage(parent) if parent else ()), axis)

    @cached_property
    def written(self) -> frozenset[str]:
        """Axes whose units some block computes from other units."""
        blocks = (b for b in self.blocks.values() if b.in_axis is not None or b.kind.endswith("embedding"))
        return frozenset(leaf.axis for b in blocks if b.out_axis for leaf in leaves(b.out_axis))

    @cached_property
    def read(self) -> frozenset[str]:
        """Axes whose units some block, or an operation without weights, consumes."""
        terms = [b.in_axis for b in self.blocks.values() if b.in_axis is not None]
        consumed = {name for stage in self.stages for name in stage.reads}
        return frozenset(leaf.axis for term in terms for leaf in leaves(term)) | consumed

    def __repr__(self) -> str:
        weights = sum(b.size for b in self.blocks.values())
        return (
            f"ParameterGraph({self.source}: {len(self.axes)} axes, {len(self.blocks)} blocks, {weights:,} weights, "
            f"understood {self.understood:.3f}, {self.free_units:,} free units)"
        )

    def obstacles(self, block: Block) -> tuple[str, ...]:
        """What keeps a block from being understood, in words; nothing if it is.

        It is understood if each axis is input, output, fixed for a stated reason, or has both a writer and a reader.
        """
        if block.kind == "opaque":
            return ("no layer kind fits its name and shape",)
        return tuple(why for name in block.axes if (why := self._unsettled(self.axes[name])))

    def _unsettled(self, axis: Axis) -> str:
        if axis.role == "fixed" and not axis.reason:
            return f"axis {axis.name!r} is fixed for no known reason"
        missing = [word for word, found in (("writes", self.written), ("reads", self.read)) if axis.name not in found]
        return f"nothing {' or '.join(missing)} axis {axis.name!r}" if axis.role == "hidden" and missing else ""

    @property
    def opaque(self) -> tuple[str, ...]:
        """Names of the tensors that are not understood."""
        return tuple(b.tensor for b in self.blocks.values() if self.obstacles(b))

    @property
    def understood(self) -> float:
        """Share of all weights that lie in understood blocks, 0 to 1."""
        total = sum(b.size for b in self.blocks.values())
        return sum(b.size for b in self.blocks.values() if not self.obstacles(b)) / total if total else 1.0

    @property
    def units(self) -> int:
        """Units of all axes."""
        return sum(map(self.count, self.axes))

    @property
    def free_units(self) -> int:
        """Units that may be relabelled: those of hidden axes with at least two units."""
        return sum(self.count(a.name) for a in self.axes.values() if a.role == "hidden" and a.size > 1)

    def to_pyg(
        self, checkpoint: weightspace.checkpoint.checkpoint.Checkpoint | None = None
    ) -> torch_geometric.data.HeteroData:
        """Return this graph for PyTorch Geometric, see `graph.pyg.to_pyg`; with the values of `checkpoint` if given."""
        from weightspace.graph.pyg import to_pyg

        return to_pyg(self, checkpoint)
