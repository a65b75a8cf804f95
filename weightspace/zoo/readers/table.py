"""Any folder of checkpoints with a CSV of properties; and what `export_population` writes, read back exactly.

*.csv             a row a checkpoint; one column names its file, below the folder
types.json        written by an export: the type of each column and the architectures; not needed

The file's column is `file`, or one of `FILE_COLUMNS`. Known other names of properties become the package's terms, see
`TERMS`; the rest is kept as it stands. Checkpoints with the same `run` belong to one training; where there is an
`epoch` or a `step` that differs, there must be such a column. Any format that `load_checkpoint` reads will do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import UnsafeCheckpointError, ZooError
from weightspace.zoo.readers.files import Network, Row, read_files, read_json_file
from weightspace.zoo.readers.layout import Listing, Problem

FILE_COLUMNS = (
    "file",
    "filename",
    "file_name",
    "path",
    "filepath",
    "file_path",
    "checkpoint",
    "ckpt",
    "weights",
    "model",
)
TERMS = {
    "test_accuracy": ("test_acc", "acc_test", "test/acc", "test/accuracy", "accuracy"),
    "train_accuracy": ("train_acc", "acc_train", "train/acc", "train/accuracy"),
    "test_loss": ("loss_test", "test/loss"),
    "train_loss": ("loss_train", "train/loss"),
    "generalisation_gap": ("ggap", "generalization_gap", "gap"),
    "learning_rate": ("lr",),
    "weight_decay": ("wd",),
    "epoch": ("epochs_trained", "training_iteration"),
    "step": ("global_step", "iteration"),
    "run": ("run_id", "trial", "trial_id"),
    "seed": ("random_seed",),
}
TYPES_FILE = "types.json"
TEXTS = ("id", "split", "run_name")


def matches(source: Path) -> bool:
    """Whether a CSV in the folder has a column that names a file there."""
    return source.is_dir() and _find_table(source) is not None


def _find_table(source: Path) -> tuple[Path, str] | None:
    """The CSV and its column of files, by the first row."""
    for path in sorted(source.glob("*.csv")):
        try:
            head = _read_text(path, rows=20)
        except ZooError:
            continue
        for column in FILE_COLUMNS:
            if column in head and any((source / name).is_file() for name in head[column] if name):
                return path, column
    return None


def _read_text(path: Path, rows: int | None = None) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, nrows=rows, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ZooError(f"{path}: not a readable CSV ({error}). Save it again as UTF-8.") from None


def list_zoo(source: Path) -> Listing:
    """List the rows of the CSV.

    Raises:
        ZooError: No CSV names a file of the folder, two columns mean the same property, or a run is not told.
    """
    found = _find_table(source)
    if found is None:
        raise ZooError(
            f"{source}: no CSV with a column that names its files; call it `file`. Paths go from the folder."
        )
    path, column = found
    text = _read_text(path).rename(columns={column: "_file"})
    noted = _read_types(source / TYPES_FILE)
    types, architectures = noted.get("types", {}), noted.get("architectures", {})
    rows = text if types else _renamed(text, path)
    rows = pd.DataFrame({name: _typed(rows[name], types.get(name), noted.get("missing", ""), path) for name in rows})
    rows, problems = _present(rows, source)
    rows = _with_runs(rows.rename(columns={"architecture": "_architecture"}), path)
    return Listing(rows, lambda piece: read_files(piece, lambda row: _load(source, row, architectures)), problems)


def _read_types(path: Path) -> dict[str, Any]:
    noted = read_json_file(path) if path.is_file() else {}
    if not isinstance(noted, dict) or not all(
        isinstance(noted.get(key, {}), dict) for key in ("types", "architectures")
    ):
        raise ZooError(f"{path}: is not what an export writes. Export again, or remove it: types are then guessed.")
    return noted


def _renamed(text: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The columns under the package's terms."""
    terms = {other: ours for ours, others in TERMS.items() for other in others}
    names = [terms.get(str(name).lower(), str(name)) for name in text]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ZooError(f"{path}: several columns mean {twice}, of {list(text)}. Keep one of each.")
    return text.set_axis(names, axis=1)


def _typed(column: pd.Series, kind: str | None, missing: str, path: Path) -> pd.Series:
    """Numbers where all values are numbers, truths where all are True or False, else text; or the noted type."""
    there = column != missing
    text = column.astype(object).where(there, None)
    if kind == "string" or column.name == "_file" or (kind is None and column.name in TEXTS):
        return text
    truths = {"True": True, "False": False}
    if kind == "bool" or (kind is None and there.any() and set(column[there]) <= set(truths)):
        found = column.map(truths).astype("boolean")
        return found if found.isna().any() else found.astype(bool)
    try:
        return pd.to_numeric(column[there]).reindex(column.index) if there.any() else text.astype(float)
    except (ValueError, TypeError) as error:
        if kind is not None:
            raise ZooError(f"{path}: column {column.name!r} is noted as {kind}, but {error}.") from None
        return text


def _present(rows: pd.DataFrame, source: Path) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """Rows whose file lies in the folder, and a problem for each other."""
    root = source.resolve()
    sizes: list[int] = []
    problems: list[Problem] = []
    for number, name in enumerate(rows["_file"]):
        file = (source / name).resolve() if name else root
        inside = file.is_relative_to(root) and file.is_file()
        sizes.append(file.stat().st_size if inside else -1)
        if not inside:
            problems.append(Problem(str(name or ""), f"row {number + 1} of the CSV: no such file below {source}."))
    rows = rows.assign(bytes=sizes)
    return rows[rows["bytes"] >= 0].reset_index(drop=True), tuple(problems)


def _with_runs(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    if "id" not in rows:
        rows = rows.assign(id=rows["_file"])
    if "run" not in rows:
        for name in {"epoch", "step"} & set(rows):
            if rows[name].nunique() > 1:
                raise ZooError(
                    f"{path}: has several values of {name!r} and no column `run`. Add one that the checkpoints of one "
                    "training share, so that they come to lie in one split."
                )
        rows = rows.assign(run_name=rows["_file"])
    elif not pd.api.types.is_integer_dtype(rows["run"]):
        rows = rows.assign(run_name=rows["run"].astype(str)).drop(columns="run")
    elif "run_name" not in rows:
        rows = rows.assign(run_name=rows["run"].astype(str))
    return rows


def _load(source: Path, row: Row, architectures: dict[str, Any]) -> Network:
    try:
        checkpoint = load_checkpoint(source / str(row["_file"]))
    except UnsafeCheckpointError as error:
        raise ZooError(f"{error} It is left out.") from None
    known = dict(architectures.get(str(row.get("_architecture")), {}))
    shapes = {name: list(info.shape) for name, info in checkpoint.header.tensors.items()}
    if known and known.pop("shapes", None) != shapes:
        raise ZooError(f"{row['_file']}: does not have the shapes that {TYPES_FILE} notes for it.")
    return Network(checkpoint, {}, known)
