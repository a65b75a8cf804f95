"""Splits as JSON files list them: files by part, with paths of the machine on which they were made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from weightspace.errors import ZooError
from weightspace.zoo.readers.files import read_json_file
from weightspace.zoo.readers.layout import Problem

PARTS = {"train": "train", "val": "validation", "test": "test"}


def read_splits(
    source: Path, files: Collection[str]
) -> tuple[dict[str, str], dict[str, dict[str, Any]], list[Problem]]:
    """Return the part and the other entries of each file, by path below `source`, and listed files that are missing.

    Understands `{"train": {"path": [...], "label": [...]}, ...}` and `{"train": [...], ...}`. A path means the file
    whose own path ends the most like it.

    Args:
        source: Folder of the zoo; of several `*splits*.json` the first by name counts.
        files: Paths below it.

    Raises:
        ZooError: The file is not readable, or its lists have different lengths.
    """
    lists = sorted(source.glob("*splits*.json"))
    if not lists:
        return {}, {}, []
    split: dict[str, str] = {}
    told: dict[str, dict[str, Any]] = {}
    missing: list[Problem] = []
    for part, columns in _columns(lists[0]).items():
        for place, path in enumerate(columns["path"]):
            file = find_file(str(path), files)
            if file is None:
                missing.append(Problem(str(path), f"{lists[0]}: lists it for {part!r}, but it is not there."))
                continue
            split[file] = PARTS[part]
            told[file] = {name: values[place] for name, values in columns.items() if name != "path"}
    return split, told, missing


def _columns(path: Path) -> dict[str, dict[str, list[Any]]]:
    content = read_json_file(path)
    if not isinstance(content, Mapping) or not set(content) <= set(PARTS):
        raise ZooError(f"{path}: must be an object with the keys {list(PARTS)}.")
    found = {part: dict(each) if isinstance(each, Mapping) else {"path": each} for part, each in content.items()}
    for part, columns in found.items():
        lengths = {name: len(values) if isinstance(values, list) else None for name, values in columns.items()}
        if "path" not in columns or len(set(lengths.values())) != 1 or None in lengths.values():
            raise ZooError(f"{path}: {part!r} must hold lists of one length, `path` among them, not {lengths}.")
    return found


def find_file(path: str, files: Collection[str]) -> str | None:
    """Return the one of `files` whose whole path ends `path`, or None.

    Example:
        >>> find_file("/home/them/inrs/train/model_3.pth", {"train/model_3.pth", "test/model_3.pth"})
        'train/model_3.pth'
    """
    parts = PurePosixPath(path.replace("\\", "/")).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in files), None)
