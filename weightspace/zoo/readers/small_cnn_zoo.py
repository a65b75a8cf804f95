"""Small CNN Zoo: all weights of one dataset in one matrix, with a table of the same rows.

weights.npy      a row a checkpoint, 4,970 numbers
metrics.csv.gz   modeldir, step, train_/test_ accuracy and loss, config.*; the same rows
layout.csv       varname, start_idx, end_idx, shape: which numbers are which TensorFlow variable
*_split.csv      optional: the row order by which NFN split it, from their repository

Kernels are stored as TensorFlow has them, height x width x in x out and in x out for the dense layer; here they are
turned to out x in x height x width and out x in, under the names of the family `smallcnn`. `step` counts epochs.

Source: Unterthiner et al. (2020), "Predicting neural network accuracy from weights"; the README beside its code names
the columns, the order of `layout.csv` is that of public code that reads it. The archives themselves were not opened:
the number type of the matrix, and whether the table has an index column, are taken as they come. The split is that of
Zhou et al. (2023), "Permutation equivariant neural functionals", where its file is there.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from weightspace.errors import ZooError
from weightspace.zoo.append import Part
from weightspace.zoo.readers.files import describe_family
from weightspace.zoo.readers.layout import Listing

PROPERTIES = {
    "step": "epoch",
    "test_accuracy": "test_accuracy",
    "test_loss": "test_loss",
    "train_accuracy": "train_accuracy",
    "train_loss": "train_loss",
    "config.activation": "activation",
    "config.b_init": "bias_init",
    "config.dataset": "dataset",
    "config.dropout": "dropout",
    "config.init_std": "init_std",
    "config.l2reg": "l2_penalty",
    "config.learning_rate": "learning_rate",
    "config.num_layers": "depth",
    "config.num_units": "width",
    "config.optimizer": "optimizer",
    "config.random_seed": "seed",
    "config.train_fraction": "train_fraction",
    "config.w_init": "init",
}
NEEDED = ("modeldir", "step", "test_accuracy", "config.activation")
SIDES = {"mnist": 28, "fashion_mnist": 28, "cifar10": 32, "svhn_cropped": 32}
LAST_EPOCH = 86

Place = tuple[int, int, tuple[int, ...]]


def matches(source: Path) -> bool:
    """Whether the three files are there."""
    return all((source / name).is_file() for name in ("weights.npy", "layout.csv")) and _metrics(source).is_file()


def list_zoo(source: Path) -> Listing:
    """List the rows of the matrix.

    Raises:
        ZooError: A file is missing, damaged or lacks columns, or the three do not fit together.
    """
    matrix = _open_matrix(source / "weights.npy")
    metrics = _read_table(_metrics(source), NEEDED)
    if len(metrics) != len(matrix):
        raise ZooError(
            f"{source}: weights.npy has {len(matrix)} rows, the metrics have {len(metrics)}. Fetch them again."
        )
    variables = read_layout(source / "layout.csv", matrix.shape[1])
    rows = metrics[[name for name in PROPERTIES if name in metrics]].rename(columns=PROPERTIES)
    runs = metrics["modeldir"].astype(str).str.replace(r"/?permanent_ckpt-\d+/?$", "", regex=True)
    rows = rows.assign(
        id=runs + "/" + metrics["step"].astype(str),
        run_name=runs,
        bytes=matrix.shape[1] * matrix.itemsize,
        _place=np.arange(len(rows)),
        split=_read_splits(source, metrics["step"].to_numpy(), runs),
    )
    return Listing(rows, lambda piece: _read(source, variables, piece))


def _metrics(source: Path) -> Path:
    packed = source / "metrics.csv.gz"
    return packed if packed.is_file() else source / "metrics.csv"


def _open_matrix(path: Path) -> np.ndarray:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ZooError(f"{path}: not a readable matrix of numbers ({error}). Fetch it again.") from None
    if matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise ZooError(f"{path}: must be a matrix of floats, not {matrix.dtype} of {matrix.shape}.")
    return matrix


def _read_table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError, EOFError) as error:  # pandas' own errors and wrong UTF-8 are ValueErrors
        raise ZooError(f"{path}: not a readable table ({error}). Fetch it again.") from None
    missing = [name for name in needed if name not in table]
    if missing:
        raise ZooError(f"{path}: has no columns {missing}; it has {list(table.columns)}.")
    return table


def read_layout(path: Path, columns: int) -> dict[str, Place]:
    """Return where each tensor lies in a row: first column, the one after the last, and TensorFlow's shape.

    Raises:
        ZooError: The file is not readable, names an unknown variable, or does not cover `columns` columns once.
    """
    found: dict[str, Place] = {}
    table = _read_table(path, ("varname", "start_idx", "end_idx", "shape"))
    for row in table.to_dict("records"):
        try:
            shape = tuple(int(size) for size in ast.literal_eval(str(row["shape"])))
            place = int(row["start_idx"]), int(row["end_idx"]), shape
        except (ValueError, SyntaxError, TypeError) as error:
            raise ZooError(f"{path}: {row['varname']!r} has no readable place or shape ({error}).") from None
        if place[1] - place[0] != prod(shape):
            raise ZooError(f"{path}: {row['varname']!r} of {shape} cannot lie in columns {place[:2]}.")
        found[plain_name(str(row["varname"]), str(path))] = place
    ends = [0, *sorted(stop for _, stop, _ in found.values())]
    if sorted(start for start, _, _ in found.values()) != ends[:-1] or ends[-1] != columns or len(found) < len(table):
        raise ZooError(f"{path}: its variables do not cover the {columns} columns of weights.npy once each.")
    order = sorted(found, key=lambda name: (name.startswith("head"), name.split(".")[-2], name.endswith("bias")))
    return {name: found[name] for name in order}


def plain_name(variable: str, source: str) -> str:
    """Return the name that the family `smallcnn` has for a TensorFlow variable.

    Example:
        >>> plain_name("sequential/conv2d_1/kernel:0", "layout.csv"), plain_name("sequential/dense/bias:0", "")
        ('convs.1.weight', 'head.bias')
    """
    match = re.fullmatch(r"(?:.*/)?(conv2d|dense)(?:_(\d+))?/(kernel|bias)(?::0)?", variable)
    if not match or (match[1] == "dense" and match[2]):
        raise ZooError(f"{source}: the variable {variable!r} is not known; there are conv2d, conv2d_1, ... and dense.")
    layer = "head" if match[1] == "dense" else f"convs.{match[2] or 0}"
    return f"{layer}.{'weight' if match[3] == 'kernel' else 'bias'}"


def _read(source: Path, variables: Mapping[str, Place], rows: pd.DataFrame) -> Iterator[Part]:
    matrix = _open_matrix(source / "weights.npy")  # mapped anew, so that pages of earlier pieces can go
    names = rows["dataset"] if "dataset" in rows else pd.Series("", index=rows.index)
    sides = names.map(SIDES).fillna(0).astype(int)
    for _, same in rows.groupby([rows["activation"], sides], sort=True):
        numbers = np.ascontiguousarray(matrix[same["_place"].to_numpy()], dtype=matrix.dtype.newbyteorder("="))
        flat = torch.from_numpy(numbers)
        tensors = {name: _turned(flat[:, start:stop], shape) for name, (start, stop, shape) in variables.items()}
        same = same.assign(diverged=~flat.isfinite().all(1).numpy())
        yield Part(same, tensors, _architecture(tensors, str(same["activation"].iloc[0]), int(sides[same.index[0]])))


def _turned(flat: Tensor, shape: tuple[int, ...]) -> Tensor:
    """TensorFlow's order to PyTorch's: (models, h, w, in, out) or (models, in, out)."""
    tensor = flat.unflatten(1, shape)
    orders = {5: (0, 4, 3, 1, 2), 3: (0, 2, 1), 2: (0, 1)}
    return tensor.permute(orders[tensor.ndim]).contiguous()


def _architecture(tensors: Mapping[str, Tensor], activation: str, side: int) -> dict[str, Any]:
    shapes = {name: list(tensor.shape[1:]) for name, tensor in tensors.items()}
    first = shapes.get("convs.0.weight", [0, 0])
    known = describe_family("smallcnn", {"width": first[0], "activation": activation}, (first[1], side, side), shapes)
    return {"shapes": shapes, **known}


def _read_splits(source: Path, steps: np.ndarray, runs: pd.Series) -> pd.Series:
    """NFN's split of the final checkpoints, passed on to all of their runs; empty where its file is not there."""
    files = sorted(source.glob("*_split.csv"))
    if not files:
        return pd.Series([None] * len(runs), dtype=object)
    try:
        order = pd.read_csv(files[0], header=None).to_numpy().ravel()
    except (OSError, ValueError) as error:
        raise ZooError(f"{files[0]}: not a readable list of rows ({error}). Fetch it again.") from None
    if not np.array_equal(np.sort(order), np.arange(len(runs))):
        raise ZooError(f"{files[0]}: does not name each of {len(runs)} rows once. Is it of this dataset?")
    final = order[steps[order] == LAST_EPOCH]
    learned = list(range(len(final) // 2))
    random.Random(0).shuffle(learned)
    parts = {"train": learned[: int(0.8 * len(learned))], "validation": learned[int(0.8 * len(learned)) :]}
    parts["test"] = list(range(len(final) // 2, len(final)))
    return runs.map({runs[final[i]]: part for part, places in parts.items() for i in places})
