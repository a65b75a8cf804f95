"""`weightspace search`: the checkpoints of a table that are nearest to one."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import complain_about, progress
from weightspace.cli.show import show
from weightspace.cli.zoo import read_condition
from weightspace.encode import DEFAULT
from weightspace.inspect.sections import Section, number_text

if TYPE_CHECKING:
    from weightspace.encode.encoder import Encoder
    from weightspace.latents.table import LatentTable

HIDDEN = {
    "id",
    "path",
    "sha256",
    "understood",
    "free_units",
    "nonfinite",
    "error",
    "seed",
    "rank",
    "distance",
    "stages",
}
COLUMNS = 6  # of properties that are printed; --json gives all


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """How a file is embedded, what is near, and what is told of the found.

    Args:
        metric: How far apart two latents are; cosine is one less the cosine.
        encoder: Name of the encoder that the table is of, or its folder; for a file, and for --why.
        why: Also say which stages of each found checkpoint agree with the one searched by. Reads their files.
        trust: Let plain values stand for reviewed harmless classes in a pickle; nothing is run either way.
    """

    metric: Literal["euclidean", "cosine"] = "euclidean"
    encoder: str = DEFAULT
    why: bool = False
    trust: bool = False


_PLAIN = How()


def search(
    table: Path,
    /,
    *,
    like: str,
    k: Annotated[int, Parameter(name=("--k", "-k"), validator=Number(gte=1))] = 10,
    where: tuple[str, ...] = (),
    how: How = _PLAIN,
    json: bool = False,
) -> int:
    """Find the checkpoints of a table that are nearest to one, exactly; equal ones in the order of the table.

    Args:
        table: A Parquet file of latents.
        like: Id of a row of the table, or else a file, folder or hub id, which is embedded.
        k: How many.
        where: Only rows of which this is true, such as 'test_accuracy>0.9' or 'dataset==mnist'; may be repeated.
        how: How a file is embedded, what is near, and what is told of the found.
        json: Print one JSON object.
    """
    from weightspace.inspect.likeness import embed_query
    from weightspace.latents.search import search as find
    from weightspace.latents.table import LatentTable

    conditions = [read_condition(text) for text in where]
    latents = LatentTable.read_parquet(table)
    inside = like in set(latents.data["id"].to_pylist())
    file = _path(latents, like) if inside else like
    encoder = _encoder(latents, how) if how.why or not inside else None
    query = like if encoder is None else embed_query(latents, file, encoder, trust=how.trust)
    found = find(latents, like if inside else query, k=k, metric=how.metric, where=conditions)
    rows = _rows(latents, found["row"].tolist(), found["distance"].tolist())
    failed = _explain(encoder, file, rows, how.trust) if encoder and how.why else 0
    if json:
        told = {"like": like, "metric": how.metric, "found": rows}
        print(jsonlib.dumps(told, indent=1, allow_nan=False, default=str))
    else:
        show(_sections(f"nearest to {like} ({how.metric})", rows, [column for column, _, _ in conditions]))
    return 1 if failed else 0


def _encoder(latents: LatentTable, how: How) -> Encoder:
    from weightspace.encode.encoder import Encoder

    encoder = Encoder.from_pretrained(how.encoder)
    weights_only = encoder.id != latents.encoder  # as of `embed --weights-only`
    return Encoder.from_pretrained(how.encoder, run=False) if weights_only else encoder


def _path(latents: LatentTable, identity: str) -> str:
    return str(latents.data["path"][latents.data["id"].to_pylist().index(identity)].as_py())


def _rows(latents: LatentTable, places: list[int], distances: list[float]) -> list[dict[str, Any]]:
    """Found rows with their properties; what JSON has no word for is null."""
    import pyarrow as pa

    kept = latents.data.select([c for c in latents.columns if c != "vector"])
    found = kept.take(pa.array(places, pa.int64())).to_pylist()
    told = [{"rank": i + 1, "distance": distances[i], **row} for i, row in enumerate(found)]
    return [{name: None if v != v else v for name, v in row.items()} for row in told]


def _explain(encoder: Encoder, like: str, rows: list[dict[str, Any]], trust: bool) -> int:
    """Add how alike the stages are; return for how many rows that could not be told."""
    from weightspace.checkpoint.load import load_checkpoint
    from weightspace.inspect.likeness import compare_stages

    latent, failed = encoder.encode(load_checkpoint(like, trust=trust)), 0
    with progress("checkpoint") as update:
        for done, row in enumerate(rows, 1):
            try:
                other = encoder.encode(load_checkpoint(row["path"], trust=trust))
                row["stages"] = [vars(stage) for stage in compare_stages(latent, other)]
            except Exception as error:  # one bad file of any kind must not end the search
                complain_about(row["path"], error)
                failed += 1
            update(done, len(rows))
    return failed


def _sections(title: str, rows: list[dict[str, Any]], asked: list[str]) -> list[Section]:
    if not rows:
        return [Section(title, ("", ""), (("found", "no row meets the conditions"),))]
    telling = [c for c in rows[0] if c not in HIDDEN and _tells(rows, c)]
    shown = list(dict.fromkeys([c for c in asked if c not in HIDDEN] + telling))[:COLUMNS]
    cells = tuple(
        (str(row["rank"]), row["id"], number_text(row["distance"]), *(_cell(row[name]) for name in shown))
        for row in rows
    )
    sections = [Section(title, ("rank", "id", "distance", *shown), cells, frozenset({0, 2}))]
    for row in rows:
        if "stages" in row:
            cells = tuple((s["stage"], s["other"], f"{s['cosine']:.3f}") for s in row["stages"])
            sections.append(Section(f"stages of {row['id']}", ("stage", "its stage", "cosine"), cells, frozenset({2})))
    return sections


def _tells(rows: list[dict[str, Any]], column: str) -> bool:
    """Whether the found rows differ in it; one alone tells all."""
    return len(rows) == 1 or len({str(row[column]) for row in rows}) > 1


def _cell(value: Any) -> str:
    return number_text(value) if isinstance(value, float) else "-" if value is None else str(value)
