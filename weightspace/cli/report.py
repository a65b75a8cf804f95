"""`weightspace report`: one checkpoint on one page."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from weightspace.cli.manners import UsageError, check_output
from weightspace.encode import DEFAULT

if TYPE_CHECKING:
    from weightspace.inspect.examine import Context


@Parameter(name="*")
@dataclass(frozen=True)
class Against:
    """What the checkpoint is held against.

    Args:
        encoder: Encoder that ships, or the folder of one: what it predicts of the checkpoint, if it has learned
            anything.
        table: Table that the same encoder wrote: the nearest checkpoints, and copies under another hash.
        parent: Checkpoint that it descends from: blocks that moved far more than the others.
        trust: Let plain values stand for reviewed harmless classes in a pickle; nothing is run either way.
    """

    encoder: str | None = None
    table: Path | None = None
    parent: str | None = None
    trust: bool = False


_ALONE = Against()


def report(
    checkpoint: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    against: Against = _ALONE,
    force: bool = False,
    json: bool = False,
) -> int:
    """Write everything that one checkpoint shows onto one page that works offline.

    What it is and how much is understood, each layer's numbers and singular values, dead and duplicate units, what is
    odd; with an encoder its predicted properties, with a table its neighbours.

    Args:
        checkpoint: A file, folder or hub id.
        output: The page to write, a name that ends in .html; not needed with --json.
        against: What the checkpoint is held against.
        force: Overwrite an existing output.
        json: Print everything as one JSON object.
    """
    if output is None and not json:
        raise UsageError("name the page to write with -o, or pass --json.")
    if output is not None:
        check_output(output, force=force)
        if Path(checkpoint).exists() and output.resolve() == Path(checkpoint).resolve():
            raise UsageError(f"{output} is the checkpoint itself: name another file.")
    from weightspace.inspect.examine import examine

    found = examine(checkpoint, _context(against), trust=against.trust)
    if output is not None:
        from weightspace.inspect.report_page import write_report_page
        from weightspace.latents.table import write_output

        page = write_report_page(found)
        write_output(output, lambda draft: draft.write_text(page, encoding="utf-8"), overwrite=True)
    if json:
        print(jsonlib.dumps(found.as_dict(), indent=1, allow_nan=False))
    else:
        print(f"{output}: {found.report.header.weights:,} weights, {len(found.anomalies)} anomalies")
    return 0


def _context(against: Against) -> Context:
    from weightspace.checkpoint.load import load_checkpoint
    from weightspace.inspect.examine import Context

    encoder = table = None
    if against.table is not None or against.encoder is not None:
        from weightspace.encode.encoder import Encoder
        from weightspace.latents.table import LatentTable

        table = None if against.table is None else LatentTable.read_parquet(against.table)
        encoder = Encoder.from_pretrained(against.encoder or DEFAULT)
    parent = None if against.parent is None else load_checkpoint(against.parent, trust=against.trust)
    return Context(encoder, table, parent)
