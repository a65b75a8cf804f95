"""What is known while a program is traced: terms of every tensor, who consumed which parameter, what was mixed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from weightspace.graph.trace.program import Node, Program, Ref, Value
from weightspace.graph.trace.terms import Case, Cut, Leaf, Same, Term, concatenation, fix, resolve, size_of
from weightspace.graph.trace.unify import tie

MATRICES = frozenset({"linear", "conv", "transposed conv", "depthwise", "embedding", "position embedding"})


@dataclass(frozen=True)
class Origin:
    """A tensor that is a stored parameter, moved about: `dims` tells which stored dimension each one comes from."""

    target: str
    dims: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Tracked:
    """A tensor of the traced program.

    Args:
        terms: One a dimension.
        origin: Where it is a parameter.
        stage: The last stage that shaped it, -1 before the first.
        through: Stages it depends on.
        told: Whether its numbers come from the program's inputs.
        pending: A parameter it was just multiplied with, see `rules.pointwise`.
    """

    terms: tuple[Term, ...]
    origin: Origin | None = None
    stage: int = -1
    through: frozenset[int] = frozenset()
    told: bool = False
    pending: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of its dimensions."""
        return tuple(map(size_of, self.terms))


@dataclass
class StageDraft:
    """A stage while it grows."""

    owner: str
    op: str
    blocks: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    reads: list[Term] = field(default_factory=list)


@dataclass
class Use:
    """How a parameter was consumed first."""

    kind: str
    letters: dict[int, str]
    stage: int


@dataclass
class State:
    """Everything a rule may read and write.

    Args:
        program: What is traced.
        slots: Reshapes, by node and dimension, whose result is taken apart later; with the places of the cuts.
    """

    program: Program
    slots: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    found: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    tensors: dict[Ref, Tracked] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    uses: dict[str, Use] = field(default_factory=dict)
    stages: list[StageDraft] = field(default_factory=list)
    mixed: list[tuple[tuple[Term, ...], tuple[Term, ...]]] = field(default_factory=list)
    read: list[Term] = field(default_factory=list)
    norms: frozenset[str] = frozenset()

    def arguments(self, item: Any) -> Any:
        """Return arguments with references replaced by tracked tensors and numbers."""
        if isinstance(item, Ref):
            return self.numbers[item.name] if item.name in self.numbers else self.tensors[item]
        if isinstance(item, tuple):
            return tuple(self.arguments(part) for part in item)
        return item

    def derive(self, terms: Iterable[Term], *sources: Tracked, **changes: Any) -> Tracked:
        """Return a tensor that was computed from `sources`."""
        stage = max((s.stage for s in sources), default=-1)
        through = frozenset().union(*(s.through for s in sources))
        told = any(s.told for s in sources)
        return replace(Tracked(tuple(terms), None, stage, through, told), **changes)

    def fallback(self, node: Node, sources: Sequence[Tracked], reason: str = "") -> tuple[Tracked | None, ...]:
        """Fix everything an operation touches, and what it returns."""
        reason = reason or f"{node.op} has no rule here"
        for source in sources:
            for term in source.terms:
                fix(term, reason)
                self.read.append(term)
        return tuple(None if v is None else self.derive(fixed(v, reason), *sources) for v in node.values)

    def mix(self, mixed: Iterable[Term], batched: Iterable[Term]) -> None:
        """Note that an operation combines positions of `mixed`, in the same way at each position of `batched`."""
        self.mixed.append((tuple(mixed), tuple(batched)))

    def consume(self, source: Tracked, kind: str, letters: dict[int, str], by: Tracked | None = None) -> int:
        """Note that a parameter acts here, on `by`; `letters` are those of the tensor's present dimensions."""
        assert source.origin is not None
        target, dims = source.origin.target, source.origin.dims
        stored = {dims[d]: letter for d, letter in letters.items() if dims[d] is not None}
        use = self.uses.get(target)
        if use is not None:
            if use.kind == "linear" and kind == "linear" and by is not None and use.stage in by.through:
                use.kind = "recurrent gate"
            self.stages[use.stage].reads += [source.terms[d] for d, letter in letters.items() if letter == "i"]
            return use.stage
        stage = self._stage(target, kind, by)
        self.uses[target] = Use(kind, stored, stage)  # type: ignore[arg-type]
        self.stages[stage].blocks.append(target)
        return stage

    def place(self, source: Tracked, by: Tracked) -> None:
        """Note that a parameter joins the activations as values of its own: a class token, position embeddings."""
        real = [d for d, n in enumerate(source.shape) if n > 1] or [len(source.terms) - 1]
        letters = dict.fromkeys(range(len(source.terms)), "k") | dict.fromkeys(real[:-1], "i") | {real[-1]: "o"}
        self.consume(source, "position embedding", letters, by)

    def _stage(self, target: str, kind: str, by: Tracked | None) -> int:
        owner = target.rpartition(".")[0] or target
        op = kind if kind in MATRICES else "norm" if kind.startswith(("norm", "running")) else kind
        if kind not in MATRICES:
            for index in ([by.stage] if by is not None else []) + [len(self.stages) - 1]:
                if index >= 0 and self.stages[index].owner == owner:
                    return index
        self.stages.append(StageDraft(owner, op))
        return len(self.stages) - 1

    def follow(self, value: Tracked, label: str) -> None:
        """Note a parameter-free operation after the stage that made `value`."""
        if value.stage >= 0 and label not in self.stages[value.stage].after:
            self.stages[value.stage].after.append(label)

    def contract(self, terms: Iterable[Term], value: Tracked) -> None:
        """Note that units are consumed without a weight."""
        terms = tuple(terms)
        self.read += terms
        if value.stage >= 0:
            self.stages[value.stage].reads += terms


def fixed(value: Value, reason: str, span: bool = False) -> tuple[Term, ...]:
    """Return fixed terms for a result."""
    return tuple(Leaf(n, reason, span=span) for n in value.shape)


def settle(tensor: Tracked) -> Tracked:
    """Give up differences between slots: their variants become one."""
    if not any(isinstance(term, Cut | Case) for term in tensor.terms):
        return tensor
    return replace(tensor, terms=tuple(map(_settled, tensor.terms)))


def _settled(term: Term) -> Term:
    if isinstance(term, Cut):
        return concatenation(list(term.parts))
    if isinstance(term, Case):
        for variant in term.variants[1:]:
            tie(term.variants[0], variant, "slots of one tensor are used together")
        return term.variants[0]
    return term


def fresh(term: Term) -> Term:
    """Return a leaf of its own for positions that hold the same value."""
    found = resolve(term)
    return Leaf(found.size) if isinstance(found, Same) else term
