"""A population as a latent table with its properties, and what each stage of its networks says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.encoder import Encoder
from weightspace.errors import EncoderError, ZooError
from weightspace.graph.axes import GRAPH_VERSION
from weightspace.latents.table import COLUMNS, LatentTable
from weightspace.zoo.store import Population

BATCH = 64
_STORAGE = ("shard", "group", "row")


@dataclass(frozen=True, eq=False)
class EmbeddedPopulation:
    """Latents of a population.

    Args:
        table: A row a checkpoint with the columns of the manifest. `run` is the population's name and the run, so that
            tables of several populations can be joined.
        stages: What each stage says of each row, for `probe_stages`; NaN where a network has no stage of that name.
    """

    table: LatentTable
    stages: Mapping[str, Float32[np.ndarray, "rows width"]]


def embed_population(
    encoder: Encoder,
    population: Population,
    rows: pd.DataFrame | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> EmbeddedPopulation:
    """Return the latents of checkpoints of a population, in their order.

    A checkpoint that diverged or overflows has a row that says so.

    Args:
        encoder: It runs the networks where it can, as it does for files.
        population: What to embed.
        rows: Of its manifest; all by default.
        progress: Called with how many checkpoints are done and how many there are.

    Raises:
        ZooError: There are no rows, or weights are missing or altered.
    """
    frame = (population.frame() if rows is None else rows).reset_index(drop=True)
    if frame.empty:
        raise ZooError(f"{population.folder}: no checkpoint to embed; loosen the conditions.")
    told: list[dict[str, Any]] = [{} for _ in range(len(frame))]
    stages: dict[str, Float32[np.ndarray, "rows width"]] = {}
    done = 0
    for batch, stack in population.batches(frame, BATCH):
        program = population.program(str(batch["architecture"].iloc[0]))
        metadata = {} if program is None else {"architecture": program}
        checkpoints = [
            Checkpoint({name: tensor[i] for name, tensor in stack.items()}, metadata, source=str(identity))
            for i, identity in enumerate(batch["id"])
        ]
        for place, (row, said) in zip(batch.index, _encode(encoder, checkpoints), strict=True):
            told[place] = row
            for name, vector in said.items():
                stages.setdefault(name, np.full((len(frame), len(vector)), np.nan, np.float32))[place] = vector
        done += len(batch)
        if progress:
            progress(done, len(frame))
    return EmbeddedPopulation(_table(encoder, population, frame, told), stages)


def _encode(encoder: Encoder, checkpoints: list[Checkpoint]) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Yield a row and the stages of each; where one overflows, each is encoded alone."""
    try:
        found, lost = encoder.encode_stack(*checkpoints)
    except EncoderError as error:
        if len(checkpoints) == 1:
            yield {"error": str(error)}, {}
            return
        for checkpoint in checkpoints:
            yield from _encode(encoder, [checkpoint])
        return
    known = encoder.architectures.of(checkpoints[0])
    about = {"understood": known.graph.understood, "free_units": known.graph.free_units}
    names = [stage.name for stage in known.plan.stages]
    for i, checkpoint in enumerate(checkpoints):
        row = about | {"weights": checkpoint.header.weights, "nonfinite": lost[i]}
        said = dict(zip(names, found.stages[i].float().numpy(), strict=True))
        yield row | {"vector": found.vector[i].float().numpy()}, said


def _table(encoder: Encoder, population: Population, frame: pd.DataFrame, told: list[dict[str, Any]]) -> LatentTable:
    name = population.folder.name
    rows = []
    for row, identity, digest in zip(told, frame["id"], frame["sha256"], strict=True):
        rows.append({"id": str(identity), "path": f"{name}:{identity}", "sha256": digest} | row)
    latent = encoder.network.config.latent
    table = LatentTable.from_rows(rows, encoder=encoder.id, graph_version=GRAPH_VERSION, latent=latent)
    kept = [str(c) for c in frame if c not in (*COLUMNS, *_STORAGE)]
    columns: dict[str, list[Any]] = {c: _values(frame[c]) for c in kept}
    if "run" in columns:
        columns["run"] = [f"{name}/{run}" for run in columns["run"]]
    return table.assign({c: values for c, values in columns.items() if any(v is not None for v in values)})


def _values(column: pd.Series) -> list[Any]:
    if column.dtype == np.float32:  # 0.1 as it was written, not as single precision has it
        return [float(str(v)) if np.isfinite(v) else None for v in column.to_numpy()]
    return [None if pd.isna(v) else v for v in column.astype(object)]
