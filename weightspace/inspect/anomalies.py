"""What is odd about a checkpoint, each with the number that says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import median
from typing import Any, Literal

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import CheckpointError
from weightspace.graph.axes import ParameterGraph
from weightspace.inspect.curves import Curves
from weightspace.inspect.statistics import TensorStatistics
from weightspace.inspect.units import UnitFindings

Kind = Literal["nonfinite", "untrained", "collapsed", "exploding", "dead", "duplicates", "copy", "tampered"]
EXPLODING, RANK, MANY = 30.0, 1.02, 0.05
TAMPERED, MOVED = 5.0, 0.05
"""A matrix explodes if its norm is so many times the median; it has collapsed at so small a stable rank; dead and
duplicate units are named from so large a share on; a block is tampered with if it moved so many times as far as the
median block, and by so large a share of its length."""


@dataclass(frozen=True)
class Anomaly:
    """Something odd.

    Args:
        kind: What it is.
        where: Tensor, axis or checkpoint.
        text: What was found, with the numbers.
    """

    kind: Kind
    where: str
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return asdict(self)


def find_anomalies(
    statistics: Sequence[TensorStatistics], curves: Sequence[Curves], units: Sequence[UnitFindings]
) -> list[Anomaly]:
    """Return what the weights alone show: numbers that are none, layers untrained, collapsed or exploding, and units.

    A layer is untrained if its singular values are those of chance and, beside, its bias is all zero or its numbers
    fill PyTorch's default range evenly; chance alone does not suffice, since short training leaves no trace in them.
    """
    found = [*_nonfinite(statistics), *_exploding(statistics)]
    spreads = {s.name: s for s in statistics}
    for curve in curves:
        found += _collapsed(curve, spreads[curve.name])
        found += _untrained(curve, spreads)
    for axis in units:
        if axis.dead > MANY * axis.units:
            text = f"{axis.dead} of {axis.units} units have no incoming or no outgoing weight"
            found.append(Anomaly("dead", axis.axis, text))
        if axis.spare > MANY * axis.units:
            text = f"{axis.spare} of {axis.units} units repeat another's incoming weights up to a factor"
            found.append(Anomaly("duplicates", axis.axis, text))
    return found


def find_tampering(child: Checkpoint, parent: Checkpoint, graph: ParameterGraph) -> list[Anomaly]:
    """Return the blocks that moved far more than the others since `parent`, units matched first.

    Training moves all blocks; a block that alone was replaced, edited or overwritten stands out.

    Raises:
        CheckpointError: The two have no architecture in common.
    """
    from weightspace.graph.symmetry.align import align

    mine, theirs = child.header.tensors, parent.header.tensors
    odd = [n for n in {**mine, **theirs} if n not in mine or n not in theirs or mine[n].shape != theirs[n].shape]
    if odd:
        raise CheckpointError(
            f"{parent.source} cannot be the parent: {len(odd)} tensors differ in name or shape, {odd[0]!r} first. "
            "Pass a checkpoint of the same architecture."
        )
    matched = align(parent, child, graph)
    numbers = [n for n, t in mine.items() if t.size > 1 and child.tensors[n].is_floating_point()]
    moved = {n: _moved(child, matched, n) for n in numbers}
    usual = median(moved.values()) if moved else 0.0
    return [
        Anomaly("tampered", name, f"moved {share:.1%} of its length since the parent, the median block {usual:.1%}")
        for name, share in moved.items()
        if share > max(MOVED, TAMPERED * usual)
    ]


def _moved(child: Checkpoint, parent: Checkpoint, name: str) -> float:
    new, old = (c.tensors[name].detach().double().nan_to_num() for c in (child, parent))
    length = max(old.norm().item(), new.norm().item())
    return (new - old).norm().item() / length if length else 0.0


def _nonfinite(statistics: Sequence[TensorStatistics]) -> Iterator[Anomaly]:
    for s in statistics:
        if s.nonfinite:
            yield Anomaly("nonfinite", s.name, f"{s.nonfinite:,} numbers are NaN or infinite")


def _exploding(statistics: Sequence[TensorStatistics]) -> Iterator[Anomaly]:
    norms = {s.name: s.spectral_norm for s in statistics if s.spectral_norm}
    usual = median(norms.values()) if norms else 0.0
    for name, norm in norms.items():
        if len(norms) > 2 and norm > EXPLODING * usual:
            yield Anomaly(
                "exploding", name, f"spectral norm {norm:.4g}, {norm / usual:.0f} times the median {usual:.4g}"
            )


def _collapsed(curve: Curves, s: TensorStatistics) -> Iterator[Anomaly]:
    if s.spectral_norm == 0 and not s.nonfinite:
        yield Anomaly("collapsed", s.name, "all weights are zero")
    elif curve.edge is not None and s.stable_rank is not None and s.stable_rank < RANK:
        yield Anomaly("collapsed", s.name, f"stable rank {s.stable_rank:.3f}: all units say the same")


def _untrained(curve: Curves, spreads: dict[str, TensorStatistics]) -> Iterator[Anomaly]:
    if not curve.like_noise or curve.edge is None:
        return
    module = curve.name.rpartition(".")[0]
    bias = spreads.get(f"{module}.bias")
    if bias is not None and bias.quantiles[0] == bias.quantiles[-1] == 0:
        yield Anomaly("untrained", curve.name, "its singular values are those of chance, and its bias is all zero")
    elif _fills_default(curve, spreads[curve.name]):
        yield Anomaly("untrained", curve.name, "its numbers fill PyTorch's default range evenly, as drawn at the start")


def _fills_default(curve: Curves, s: TensorStatistics) -> bool:
    """Whether the numbers are spread evenly over PyTorch's range, `1 / sqrt(fan_in)` either way."""
    numbers = sum(curve.counts)
    if numbers < 256 or not curve.fan_in:
        return False
    reach = max(-s.quantiles[0], s.quantiles[-1]) * sqrt(curve.fan_in)
    even = abs(s.std * sqrt(3 * curve.fan_in) - 1) < 0.02 + 1 / sqrt(numbers)
    return even and 0.95 < reach < 1 + 1e-6
