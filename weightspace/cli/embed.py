"""`weightspace embed`: one latent a checkpoint, into a Parquet table."""

from __future__ import annotations

import json as jsonlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import (
    Inputs,
    UsageError,
    check_device,
    check_output,
    complain,
    complain_about,
    find_inputs,
    progress,
)
from weightspace.cli.show import show
from weightspace.encode import DEFAULT
from weightspace.inspect.coverage import coverage_sections, summarise

if TYPE_CHECKING:
    from weightspace.encode.encoder import Encoder
    from weightspace.latents.table import LatentTable

SHOWN = 50  # rows of a table that are printed; all of them are in the file


@Parameter(name="*")
@dataclass(frozen=True)
class Existing:
    """What to do with an output that is there already.

    Args:
        resume: Keep the rows of an existing output, and embed what is not in it.
        force: Overwrite an existing output.
    """

    resume: bool = False
    force: bool = False


_FRESH = Existing()


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """How checkpoints are read and encoded.

    Args:
        encoder: Name of an encoder that ships, or its folder.
        weights_only: Never run a network on the encoder's probes, even where its file says how.
        predict: Add columns of predicted properties with intervals, and how unlike the networks learned from it is.
        trust: Let plain values stand for reviewed harmless classes in a pickle; nothing is run either way.
        device: Where to compute; on cuda weights are multiplied in bfloat16.
    """

    encoder: str = DEFAULT
    weights_only: bool = False
    predict: bool = False
    trust: bool = False
    device: Literal["cpu", "cuda"] = "cpu"


_PLAIN = How()


def embed(
    paths: Inputs,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    neighbours: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    existing: Existing = _FRESH,
    how: How = _PLAIN,
    json: bool = False,
) -> int:
    """Write one latent a checkpoint into a Parquet table, and say how much of each was understood.

    The vector of a checkpoint is the same for every relabelling of its hidden units. An input that fails has a row
    that says why. What was embedded before Ctrl-C is kept for --resume. Several processes share the files, and each
    large one by its blocks: `torchrun --nproc-per-node N -m weightspace embed ...`.

    Args:
        paths: Files, folders, hub ids, or - for a list of them on standard input.
        output: The Parquet file to write: id, path, sha256, weights, understood, free_units, vector, error.
        neighbours: Also print so many nearest others of each checkpoint.
        existing: What to do with an output that is there already.
        how: With which encoder, and what else to tell.
        json: Print one JSON object.
    """
    if existing.resume and existing.force:
        raise UsageError("--resume keeps the rows that --force throws away: pass one of them.")
    check_output(output, force=existing.force or existing.resume)
    check_device(how.device)
    table = _encode(find_inputs(paths), output, resume=existing.resume, how=how)
    if table is None:
        return 0
    failed = [(row["path"], row["error"]) for row in table.data.select(["path", "error"]).to_pylist() if row["error"]]
    for path, error in failed:
        complain_about(path, error)
    if neighbours and table.fine.sum() < 2:
        complain("no neighbours: fewer than two checkpoints have a latent.")
        neighbours = 0
    summary = {"output": str(output), **summarise(table, neighbours=neighbours)}
    if json:
        print(jsonlib.dumps(summary, indent=1, allow_nan=False))
    else:
        show(coverage_sections(summary, title=str(output), shown=SHOWN))
    return 1 if failed else 0


def _encode(inputs: list[str], output: Path, *, resume: bool, how: How) -> LatentTable | None:
    """Embed what is not known yet, and write the table; None in all processes but the first where there are several."""
    from weightspace.encode.encoder import Encoder
    from weightspace.execute.processes import processes
    from weightspace.latents.table import LatentTable

    with processes(how.device) as team:
        encoder = Encoder.from_pretrained(how.encoder, run=not how.weights_only).to(team.device).share(team)
        if how.predict and encoder.predictor is None:
            raise UsageError(f"--predict: the encoder {encoder.id} has learned no property; name another (--encoder).")
        known = team.tell(lambda: LatentTable.read_parquet(output) if resume and output.exists() else None)
        if known is not None:
            _check_encoder(encoder, known, output)
        partial = output.with_name(f".{output.name}.partial")
        if not resume:
            team.tell(lambda: shutil.rmtree(partial, ignore_errors=True))
        with progress("checkpoint", shown=team.first) as update:
            table = encoder.encode_many(inputs, progress=update, cache=partial, known=known, trust=how.trust)
        if not team.first:
            return None
    table = encoder.add_predictions(table) if how.predict else table
    if known is not None:
        table = _others(known, table).append(table)
    table.to_parquet(output, overwrite=True)
    shutil.rmtree(partial, ignore_errors=True)
    return table


def _check_encoder(encoder: Encoder, known: LatentTable, output: Path) -> None:
    if known.encoder != encoder.id:
        raise UsageError(
            f"{output} holds latents of the encoder {known.encoder}, which do not go with those of {encoder.id}: "
            "pass --force to embed all again."
        )


def _others(known: LatentTable, table: LatentTable) -> LatentTable:
    """Rows of the known table that the new one does not replace."""
    again = set(table["path"])
    return type(known)(known.data.filter([path not in again for path in known["path"]]))
