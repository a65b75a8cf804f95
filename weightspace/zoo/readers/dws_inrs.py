"""Implicit networks (SIRENs) of images, as published with DWSNets: a state dict an image.

mnist_png_training_2_23089/checkpoints/model_final.pth   label, then number, in the folder's name; `testing` likewise
train/model_7.pth, test/model_7.pth                      Fashion-MNIST: the label is an entry of the state dict
*splits.json                                             train, val, test: paths, with or without labels

Keys are `seq.0.weight`, `seq.0.bias`, ...; the network adds 0.5 to its last layer, which is not in the weights, and its
sines have frequency 30. The published test files stay the test; without a splits file, training files are drawn into
train and validation.

Source: Navon et al. (2023), "Equivariant architectures for learning in deep weight spaces": code that lists and loads
the files, and Kofinas et al.'s; the layout of Fashion-MNIST is that of public code that imports it. The archives
themselves were not opened.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import ZooError
from weightspace.zoo.build import draw_split
from weightspace.zoo.readers.files import Network, Row, read_files
from weightspace.zoo.readers.layout import Listing
from weightspace.zoo.readers.splits import read_splits

FOLDER = re.compile(r"(?P<set>[a-z0-9_]+?)_png_(?P<part>train|test)\w*?_(?P<label>\d+)_(?P<image>\d+)")
FILE = re.compile(r"model_(?P<image>\d+)\.pth")
SETS = {"mnist": "mnist", "fmnist": "fashion_mnist", "fashion": "fashion_mnist", "cifar": "cifar10"}
PATTERNS = ("*_png_*/checkpoints/*.pth", "train/model_*.pth", "test/model_*.pth")


def matches(source: Path) -> bool:
    """Whether there is a file at one of the published places."""
    return source.is_dir() and any(next(source.glob(pattern), None) for pattern in PATTERNS)


def list_zoo(source: Path) -> Listing:
    """List the state dicts.

    Raises:
        ZooError: The splits file is damaged.
    """
    found = sorted({path for pattern in PATTERNS for path in source.glob(pattern)})
    files = {path.relative_to(source).as_posix(): path for path in found}
    split, told, missing = read_splits(source, files)
    rows = [_row(file, path, source) | told.get(file, {}) for file, path in files.items()]
    table = pd.DataFrame(rows)
    if "label" in table:
        table["label"] = pd.to_numeric(table["label"], errors="coerce").astype("float64")
    drawn = {file: _draw(file) for file in files} if not split else {}
    table["split"] = pd.Series([split.get(file) or drawn.get(file) for file in files], dtype=object)
    return Listing(table, lambda piece: read_files(piece, lambda row: _load(source, row)), tuple(missing))


def _row(file: str, path: Path, source: Path) -> dict[str, Any]:
    folder = FOLDER.fullmatch(Path(file).parts[0])
    image = (folder or FILE.fullmatch(path.name) or {"image": None})["image"]
    named = folder["set"] if folder else source.resolve().name.lower()
    dataset = next((name for start, name in SETS.items() if named.startswith(start)), "unknown")
    return {
        "id": file,
        "run_name": file,
        "bytes": path.stat().st_size,
        "_file": file,
        "dataset": dataset,
        "label": folder["label"] if folder else None,
        "image": int(image) if image else -1,
    }


def _draw(file: str) -> str:
    if re.search(r"(^|_)test", Path(file).parts[0]):
        return "test"
    return "validation" if draw_split(file, 0) == "validation" else "train"


def _load(source: Path, row: Row) -> Network:
    checkpoint = load_checkpoint(source / str(row["_file"]))
    label = checkpoint.metadata.get("label", row["label"])
    try:
        return Network(checkpoint, {"label": float(label)})
    except (TypeError, ValueError):
        raise ZooError(f"{row['_file']}: its label {label!r} is no number.") from None
