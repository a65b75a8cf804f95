"""Model zoos of Schürholt et al.: a Ray Tune folder a model, a checkpoint folder an epoch.

<model>/params.json                      how it was trained; the ViT zoo says config.json
<model>/result.json                      a JSON object a line and epoch: training_iteration, accuracies, losses
<model>/checkpoint_000050/checkpoints    the state dict, `module_list.0.weight`, ... (also `checkpoint_50`)

Weights are kept as published. The line of an epoch is found by its `training_iteration`, so it does not matter whether
the zoo begins with epoch 0; the -999 that stand for "not measured" are missing values here. Split by model, as the
publishers' own is a shuffled list of folders that depends on the machine.

The `.pt` files of the same records are pickles of the authors' Python classes. They are refused: they would run code.

Source: Schürholt et al. (2022), "Model zoos: a dataset of diverse populations of neural network models"; the code that
writes and loads the folders. The archives themselves were not opened.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from weightspace.checkpoint.formats.torch_file import read_torch_file
from weightspace.checkpoint.memory import from_stored
from weightspace.errors import CheckpointError, ZooError
from weightspace.zoo.readers.files import Network, Row, as_number, read_files, read_json_file
from weightspace.zoo.readers.layout import Listing, Problem

PARAMETERS = {
    "model::type": "architecture_name",
    "model::nlin": "activation",
    "model::dropout": "dropout",
    "model::init_type": "init",
    "optim::optimizer": "optimizer",
    "optim::lr": "learning_rate",
    "optim::wd": "weight_decay",
    "optim::momentum": "momentum",
    "training::batchsize": "batch_size",
    "seed": "seed",
}
RESULTS = {
    "test_acc": "test_accuracy",
    "test_loss": "test_loss",
    "train_acc": "train_accuracy",
    "train_loss": "train_loss",
}
EPOCH = re.compile(r"checkpoint_(\d+)")
WEIGHTS = "checkpoints"
NOT_MEASURED = -999


def matches(source: Path) -> bool:
    """Whether there is a model's folder, or a `.pt` file (which is refused with a reason)."""
    if source.is_file():
        return source.suffix == ".pt"
    return next(find_models(source), None) is not None


def find_models(source: Path) -> Iterator[Path]:
    """Yield the folders of models at and below `source`, sorted."""
    for folder, folders, files in os.walk(source):
        folders.sort()
        checkpoints = [name for name in folders if EPOCH.fullmatch(name)]
        if any(Path(folder, name, WEIGHTS).is_file() for name in checkpoints):
            yield Path(folder)
        folders[:] = [name for name in folders if name not in checkpoints] if "result.json" not in files else []


def list_zoo(source: Path) -> Listing:
    """List the checkpoints of all models.

    Raises:
        ZooError: `source` is a pickled dataset.
    """
    if source.is_file():
        _refuse(source)
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for model in find_models(source):
        rows += _list_model(model, source, problems)
    return Listing(pd.DataFrame(rows), lambda piece: read_files(piece, lambda row: _load(source, row)), tuple(problems))


def _refuse(path: Path) -> None:
    try:
        read_torch_file(path, trust=False)
        found = "holds plain tensors"
    except CheckpointError as error:
        found = str(error).removeprefix(f"{path}: ")
    raise ZooError(
        f"{path}: a pickled dataset, which needs the classes of the authors and would run their code ({found}) "
        "Fetch the zip of the raw zoo from the same record, unpack it and import its folder."
    )


def _list_model(model: Path, source: Path, problems: list[Problem]) -> list[dict[str, Any]]:
    name = model.relative_to(source).as_posix() if model != source else model.resolve().name
    told = _parameters(model, name, problems)
    results = _results(model, name, problems)
    rows = []
    for folder in sorted(model.iterdir(), key=lambda path: (len(path.name), path.name)):
        match, file = EPOCH.fullmatch(folder.name), folder / WEIGHTS
        if match and file.is_file():
            epoch = int(match[1])
            place = {"id": f"{name}/{epoch}", "run_name": name, "bytes": file.stat().st_size, "epoch": epoch}
            rows.append(place | {"_file": file.relative_to(source).as_posix()} | told | results.get(epoch, {}))
    return rows


def _parameters(model: Path, name: str, problems: list[Problem]) -> dict[str, Any]:
    path = next((model / each for each in ("params.json", "config.json") if (model / each).is_file()), None)
    try:
        content = read_json_file(path or model / "params.json")
    except ZooError as error:
        problems.append(Problem(name, f"{error} Its properties are missing."))
        return {}
    if not isinstance(content, dict):
        problems.append(Problem(name, f"{path}: no JSON object. Its properties are missing."))
        return {}
    told = {
        ours: _plain(content[theirs]) for theirs, ours in PARAMETERS.items() if _plain(content.get(theirs)) is not None
    }
    dump = Path(str(content.get("dataset::dump") or "")).parts
    return told | ({"dataset": dump[-3].lower().replace("-", "_")} if len(dump) >= 3 else {})


def _results(model: Path, name: str, problems: list[Problem]) -> dict[int, dict[str, float]]:
    """Measures by epoch; a line that cannot be read is a problem, and its epoch has none."""
    found: dict[int, dict[str, float]] = {}
    try:
        lines = (model / "result.json").read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        problems.append(Problem(name, f"result.json cannot be read ({error}); its measures are missing."))
        return {}
    for number, line in enumerate(lines, 1):
        try:
            told = json.loads(line)
            values = {ours: as_number(told[theirs]) for theirs, ours in RESULTS.items() if told.get(theirs) is not None}
            found[int(told["training_iteration"])] = {k: v for k, v in values.items() if v != NOT_MEASURED}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problems.append(Problem(name, f"result.json, line {number}: {type(error).__name__}: {error}; left out."))
    return found


def _plain(value: Any) -> Any:
    """A number, or text that can be stored; None for anything else."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63) else None


def _load(source: Path, row: Row) -> Network:
    return Network(from_stored(read_torch_file(source / str(row["_file"]), trust=False)))
