"""A published zoo on its way into a population: a bounded piece at a time, each a shard, so that a kill costs one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from weightspace.errors import ZooError
from weightspace.zoo.append import Part, append_parts
from weightspace.zoo.build import draw_split
from weightspace.zoo.manifest import MANIFEST, write_whole
from weightspace.zoo.readers.layout import Listing, Problem
from weightspace.zoo.store import Population

IMPORT, PROBLEMS = "import.json", "problems.csv"
PIECE_BYTES, PIECE_ROWS = 2**26, 4096  # weights held at a time; three copies of them while a shard is written
SPLITS = ("train", "validation", "test")
_PROBLEM_COLUMNS = ["shard", "file", "error"]


def import_listing(
    listing: Listing, folder: Path, *, layout: str, progress: Callable[[int, int], None] | None = None
) -> Population:
    """Write a listed zoo into a population, or go on where a killed import stopped; see `import_zoo`."""
    rows = complete_rows(listing.rows, layout)
    _claim(folder, layout, rows)
    begun = (folder / MANIFEST).exists()
    finished = set(Population(folder).frame(["shard"])["shard"]) if begun else set()
    _note_problems(folder, "", list(listing.problems))
    done = 0
    for number, piece in enumerate(cut_rows(rows)):
        shard = f"{number:05d}.safetensors"
        if shard not in finished:
            _append(listing, folder, shard, piece)
        done += len(piece)
        if progress:
            progress(done, len(rows))
    if not (folder / MANIFEST).exists():
        problems = read_problems(folder)
        first = f" The first of {len(problems)} problems: {problems['error'].iloc[0]}" if len(problems) else ""
        raise ZooError(f"{folder}: none of {len(rows)} checkpoints could be read.{first}")
    return Population(folder)


def read_problems(folder: str | Path) -> pd.DataFrame:
    """Return what an import could not read: `shard`, `file` and `error`, a row a problem."""
    path = Path(folder) / PROBLEMS
    if not path.exists():
        return pd.DataFrame(columns=_PROBLEM_COLUMNS, dtype=str)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def complete_rows(rows: pd.DataFrame, layout: str) -> pd.DataFrame:
    """Return the rows with a number and a split for each run, a split for each dataset, and one dtype a column.

    What the publisher says stays. A run keeps its split whatever other runs there are, as it is drawn by name.

    Raises:
        ZooError: There are no rows, an id stands twice, or the checkpoints of one run lie in two splits.
    """
    if rows.empty:
        raise ZooError(f"{layout}: no checkpoint was found. Is it the right folder, and unpacked?")
    twice = rows["id"][rows["id"].duplicated()]
    if len(twice):
        raise ZooError(f"{layout}: the id {twice.iloc[0]!r} stands {1 + len(twice)} times. Give each its own.")
    rows = rows.reset_index(drop=True)
    if "run" not in rows:
        rows["run"] = pd.factorize(rows["run_name"], sort=True)[0].astype("int64")
    rows["split"] = _splits(rows, layout)
    if "dataset" in rows and "dataset_split" not in rows:
        rows["dataset_split"] = [draw_split(str(name), 0) for name in rows["dataset"]]
    if {"train_accuracy", "test_accuracy"} <= set(rows) and "generalisation_gap" not in rows:
        rows["generalisation_gap"] = rows["train_accuracy"] - rows["test_accuracy"]
    return rows.astype({name: "str" for name in rows if pd.api.types.is_object_dtype(rows[name])})


def _splits(rows: pd.DataFrame, layout: str) -> pd.Series:
    known = rows["split"] if "split" in rows else pd.Series([None] * len(rows), dtype=object)
    strange = set(known.dropna()) - set(SPLITS)
    if strange:
        raise ZooError(f"{layout}: the splits {sorted(map(str, strange))} are none of {list(SPLITS)}. Rename them.")
    names = dict(zip(rows["run"], rows["run_name"], strict=True))
    told = known.astype(object).groupby(rows["run"]).agg(lambda each: sorted(set(each.dropna())))
    torn = told[told.map(len) > 1]
    if len(torn):
        raise ZooError(
            f"{layout}: run {names[torn.index[0]]!r} lies in the splits {torn.iloc[0]}. All checkpoints of a run must "
            "lie in one, or the test knows what was trained on."
        )
    drawn = {run: each[0] if each else draw_split(f"{layout}/{names[run]}", 0) for run, each in told.items()}
    return rows["run"].map(drawn)


def cut_rows(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows in their order, at most `PIECE_ROWS` or about `PIECE_BYTES` of weights at a time."""
    start, held = 0, 0
    for place, size in enumerate(rows["bytes"]):
        if place > start and (place - start >= PIECE_ROWS or held + size > PIECE_BYTES):
            yield rows.iloc[start:place]
            start, held = place, 0
        held += size
    yield rows.iloc[start:]


def _append(listing: Listing, folder: Path, shard: str, piece: pd.DataFrame) -> None:
    parts: list[Part] = []
    problems: list[Problem] = []
    for found in listing.read(piece.drop(columns="bytes")):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            kept = found.rows.drop(columns=[name for name in found.rows if str(name).startswith("_")])
            parts.append(Part(kept, found.tensors, found.architecture))
    _note_problems(folder, shard, problems)
    if parts:
        append_parts(folder, shard, parts)


def _note_problems(folder: Path, shard: str, problems: list[Problem]) -> None:
    """Put the problems of one shard into the file, instead of those of an earlier try."""
    known = read_problems(folder)
    others = known[known["shard"] != shard]
    if problems or len(others) < len(known):
        new = pd.DataFrame([[shard, each.file, each.error] for each in problems], columns=_PROBLEM_COLUMNS)
        text = pd.concat([others, new]).to_csv(index=False)
        write_whole(folder / PROBLEMS, lambda draft: draft.write_text(text, "utf-8"))


def _claim(folder: Path, layout: str, rows: pd.DataFrame) -> None:
    """Note what is imported, or see that it is what an earlier import began."""
    path = folder / IMPORT
    found = {"layout": layout, "checkpoints": len(rows), "sha256": _fingerprint(rows)}
    if path.exists():
        if json.loads(path.read_text()) != found:
            raise ZooError(
                f"{folder}: holds the import of something else, or the zoo has changed since; choose another folder."
            )
    elif (folder / MANIFEST).exists():
        raise ZooError(f"{folder}: holds a population that was not imported; choose another folder.")
    else:
        write_whole(path, lambda draft: draft.write_text(json.dumps(found, indent=1) + "\n"))


def _fingerprint(rows: pd.DataFrame) -> str:
    digest = hashlib.sha256(f"{PIECE_BYTES} {PIECE_ROWS} {list(rows.columns)}".encode())
    digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return digest.hexdigest()
