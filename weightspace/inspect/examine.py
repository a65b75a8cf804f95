"""Everything that can be said of one checkpoint, gathered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.digest import content_hash
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import TableError
from weightspace.graph.build import build_graph
from weightspace.inspect.anomalies import Anomaly, find_anomalies, find_tampering
from weightspace.inspect.curves import Curves, tensor_curves
from weightspace.inspect.report import Report
from weightspace.inspect.statistics import TensorStatistics, tensor_statistics
from weightspace.inspect.units import UnitFindings, find_units

if TYPE_CHECKING:
    from weightspace.encode.encoder import Encoder
    from weightspace.encode.predictor import Predictions
    from weightspace.latents.table import LatentTable

NEIGHBOURS, SAME = 5, 1e-5
Place = str | os.PathLike[str]


@dataclass(frozen=True)
class Context:
    """What a checkpoint is held against.

    Args:
        encoder: Reads its latent; with what it predicts where it has learned properties.
        table: Of the same encoder's latents: the neighbours are from it.
        parent: The checkpoint it descends from.
    """

    encoder: Encoder | None = None
    table: LatentTable | None = None
    parent: Checkpoint | None = None

    def __post_init__(self) -> None:
        if self.table is None:
            return
        if self.encoder is None or self.encoder.id != self.table.encoder:
            mine = "and no encoder was given" if self.encoder is None else f"not of {self.encoder.id}"
            raise TableError(
                f"the table's latents are of {self.table.encoder}, {mine}: name the encoder that made the table "
                "(--encoder)."
            )


_ALONE = Context()


@dataclass(frozen=True)
class Examination:
    """One checkpoint: what it is, its numbers, its units, and what is odd about it.

    Args:
        report: Header and graph.
        statistics: Of each tensor.
        curves: Of each tensor, in the same order.
        units: Of each hidden axis.
        anomalies: What is odd.
        predictions: Of its properties; None without an encoder that has learned some.
        neighbours: The nearest of a table: `id`, `distance`, and its other columns.
    """

    report: Report
    statistics: tuple[TensorStatistics, ...]
    curves: tuple[Curves, ...]
    units: tuple[UnitFindings, ...]
    anomalies: tuple[Anomaly, ...]
    predictions: Predictions | None = None
    neighbours: tuple[Mapping[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON's types; keys are stable."""
        told = self.predictions
        return {
            **self.report.as_dict(),
            "stats": [s.as_dict() for s in self.statistics],
            "curves": [_plain(c.as_dict()) for c in self.curves],
            "unit_findings": [u.as_dict() for u in self.units],
            "anomalies": [a.as_dict() for a in self.anomalies],
            "predictions": None if told is None else {k: _plain(v) for k, v in asdict(told).items()},
            "neighbours": [_plain(n) for n in self.neighbours],
        }


def examine(source: Place | Checkpoint, context: Context = _ALONE, *, trust: bool = False) -> Examination:
    """Return what one checkpoint shows; tensors are read one at a time.

    Args:
        source: A file, folder, hub id or checkpoint.
        context: What it is held against.
        trust: As for `load_checkpoint`.

    Raises:
        CheckpointError: It cannot be read, or the parent is of another architecture.
        EncoderError: It has no latent.
    """
    checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source, trust=trust)
    graph = build_graph(checkpoint)
    statistics, curves = [], []
    for name, tensor in checkpoint.tensors.items():
        block = graph.blocks.get(name)
        view = block.view if block else "o" + "k" * (tensor.ndim - 1)
        statistics.append(tensor_statistics(name, tensor, view=view))
        curves.append(tensor_curves(tensor, statistics[-1], view=view))
    units = find_units(checkpoint, graph)
    odd = find_anomalies(statistics, curves, units)
    if context.parent is not None:
        odd += find_tampering(checkpoint, context.parent, graph)
    told, near = None, list[dict[str, Any]]()
    if context.encoder is not None:
        vector = context.encoder.encode_stack(checkpoint)[0].vector.float()
        told = context.encoder.predictor.predict(vector)[0] if context.encoder.predictor else None
        if context.table is not None:
            near = _neighbours(vector[0], context.table, _hash(source))
            odd += _copies(vector[0], near)
    report = Report(str(checkpoint.source), checkpoint.header, graph)
    gathered = tuple(statistics), tuple(curves), tuple(units), tuple(odd)
    return Examination(report, *gathered, told, tuple(near))


def _hash(source: Place | Checkpoint) -> str:
    local = isinstance(source, Checkpoint) or Path(source).exists()
    return content_hash(source if local else load_checkpoint(source))


def _neighbours(vector: torch.Tensor, table: LatentTable, digest: str) -> list[dict[str, Any]]:
    """The nearest rows but the checkpoint's own, with their properties."""
    vectors = table.vectors.astype(np.float64)
    apart = np.linalg.norm(vectors - vector.double().numpy(), axis=1)
    others = np.flatnonzero(np.isfinite(apart) & (table["sha256"] != digest))
    nearest = others[apart[others].argsort(kind="stable")[:NEIGHBOURS]]
    columns = [name for name in table.columns if name not in ("vector", "sha256", "error")]
    rows = table.data.select(columns).take(nearest).to_pylist()
    return [{"distance": float(apart[i]), **row} for i, row in zip(nearest, rows, strict=True)]


def _copies(vector: torch.Tensor, near: list[dict[str, Any]]) -> list[Anomaly]:
    length = vector.double().norm().item()
    return [
        Anomaly(
            "copy",
            row["id"],
            f"same latent (distance {row['distance']:.2g}) and another hash: relabelled or saved anew",
        )
        for row in near
        if row["distance"] <= SAME * length
    ]


def _plain(value: Any) -> Any:
    """JSON's types, None where a number is not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)
