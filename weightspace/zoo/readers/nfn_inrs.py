"""Implicit networks (SIRENs) of images, as published with NFN: a state dict an image, in a folder a class.

randinit_smaller_5s/net123.pth         image 123, a 5
randinit_smaller_aug0_5s/net123.pth    the same image, fitted again with augmentation

Keys are `net.0.linear.weight`, `net.0.linear.bias`, ..., `net.2.weight`, `net.2.bias`; the last layer has no sine, the
others have frequency 30. All networks of one image are one run. The publisher's split goes by image number: training
below 45,000, validation below 50,000, then test.

Source: Zhou et al. (2023), "Permutation equivariant neural functionals": code and configurations that list and load the
files. The archives themselves were not opened.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from weightspace.checkpoint.load import load_checkpoint
from weightspace.zoo.readers.files import Network, read_files
from weightspace.zoo.readers.layout import Listing

FOLDER = re.compile(r"(?P<fit>\w+)_(?P<label>\d)s")
FILE = re.compile(r"net(?P<image>\d+)\.pth")
SETS = {"siren_mnist": "mnist", "siren_fashion": "fashion_mnist", "siren_cifar": "cifar10"}
VALIDATION_FROM, TEST_FROM = 45_000, 50_000


def matches(source: Path) -> bool:
    """Whether there is a file at the published place."""
    return source.is_dir() and any(_places(path) for path in source.glob("*_[0-9]s/net*.pth"))


def list_zoo(source: Path) -> Listing:
    """List the state dicts."""
    found = {path: _places(path) for path in sorted(source.glob("*_[0-9]s/net*.pth"))}
    named = source.resolve().name
    dataset = next((name for start, name in SETS.items() if named.startswith(start)), "unknown")
    rows = [{**_row(path, *places), "dataset": dataset} for path, places in found.items() if places]
    return Listing(
        pd.DataFrame(rows),
        lambda piece: read_files(piece, lambda row: Network(load_checkpoint(source / str(row["_file"])))),
    )


def _places(path: Path) -> tuple[str, int, int] | None:
    """How it was fitted, its label and the number of its image."""
    folder, file = FOLDER.fullmatch(path.parent.name), FILE.fullmatch(path.name)
    return (folder["fit"], int(folder["label"]), int(file["image"])) if folder and file else None


def _row(path: Path, fit: str, label: int, image: int) -> dict[str, Any]:
    return {
        "id": f"{path.parent.name}/{path.stem}",
        "run_name": f"image {image}",
        "bytes": path.stat().st_size,
        "_file": f"{path.parent.name}/{path.name}",
        "fit": fit,
        "label": label,
        "image": image,
        "split": "train" if image < VALIDATION_FROM else "validation" if image < TEST_FROM else "test",
    }
