"""Datasets of the Hugging Face hub: Parquet files fetched, decoded once, and kept beside the hub's own cache.

`hub:ylecun/mnist` is a repository, `hub:org/name/part` one of its parts (the hub's word is configuration), and
`hub:org/name@revision` a branch, tag or commit of it.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weightspace.errors import DataError
from weightspace.zoo.manifest import write_whole
from weightspace.zoo.parquet_data import read_arrays

PREFIX = "hub:"
CONVERTED = "refs/convert/parquet"
"""Branch where the hub keeps its own Parquet copy of a repository that holds other files."""
TIMEOUT = 30
TESTS = ("test", "validation", "valid", "val", "dev")
"""Splits that are tested on, the first one that there is."""
_NAME = re.compile(r"hub:([\w.-]+/[\w.-]+)(?:/([\w.-]+))?(?:@([\w./-]+))?")
_SHARD = re.compile(r"(.+?)-(\d+)-of-(\d+)(?:-[0-9a-f]+)?\.parquet")


@dataclass(frozen=True)
class HubName:
    """A dataset on the hub.

    Args:
        repository: `org/name`.
        part: One of its configurations; None where it has one, or one called default.
        revision: Branch, tag or commit; None for the main branch.
    """

    repository: str
    part: str | None
    revision: str | None

    @property
    def decoded(self) -> Path:
        """File that keeps the decoded arrays."""
        from huggingface_hub import cached_assets_path

        folder = cached_assets_path("weightspace", namespace=self.repository, subfolder="decoded")
        revision = (self.revision or "main").replace("/", "--")
        return Path(folder) / f"{self.part or 'default'}@{revision}.npz"


def parse_hub_name(text: str) -> HubName:
    """Return what `hub:org/name`, `hub:org/name/part` or `hub:org/name@revision` names.

    Raises:
        DataError: It is not spelled so.

    Example:
        >>> parse_hub_name("hub:uoft-cs/cifar100@v1").revision
        'v1'
    """
    match = _NAME.fullmatch(text)
    if match is None or ".." in re.split("[/@]", text):
        raise DataError(f"dataset {text!r}: write hub:org/name, hub:org/name/part or hub:org/name@revision.")
    return HubName(*match.groups())


def load_hub_arrays(text: str) -> dict[str, np.ndarray]:
    """Return the arrays of a hub dataset, in the layout of a data folder's file.

    The first call fetches and decodes; what it kept serves every later one without the network, whatever the branch
    has become since, so that a recipe goes on meaning the same data.

    Raises:
        DataError: The hub does not give it, or its files are not what they should be.
    """
    name = parse_hub_name(text)
    path = name.decoded
    try:
        with path.open("rb") as file, np.load(file) as kept:
            return dict(kept)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        pass  # not there, or damaged: made again
    found = _find_files(text, name)
    train, test = _choose_splits(text, name, found)
    arrays = read_arrays(text, _fetch(text, found, train), _fetch(text, found, test))

    def write(draft: Path) -> None:
        with draft.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    write_whole(path, write)
    return arrays


@dataclass(frozen=True)
class _Files:
    """Parquet files of one commit; `folder` where they are here already, and there may be more on the hub."""

    repository: str
    commit: str
    files: tuple[str, ...]
    folder: Path | None = None


def _find_files(text: str, name: HubName) -> _Files:
    """The repository's own Parquet files, or else those that the hub converted."""
    for revision in (name.revision,) if name.revision else (None, CONVERTED):
        found = _list_files(text, name.repository, revision)
        if found.files:
            return found
    at = f"revision {name.revision}" if name.revision else f"neither the main branch nor {CONVERTED}"
    raise DataError(f"dataset {text!r}: {at} holds {'no' if name.revision else 'any'} Parquet files.")


def _list_files(text: str, repository: str, revision: str | None) -> _Files:
    from huggingface_hub import HfApi

    try:
        info = HfApi().dataset_info(repository, revision=revision, timeout=TIMEOUT)
    except Exception as error:  # the client passes on the errors of whichever HTTP package it uses
        return _list_cached(repository, revision) or _fail(text, error)
    names = (file.rfilename for file in info.siblings or ())
    return _Files(repository, str(info.sha), tuple(sorted(n for n in names if n.endswith(".parquet"))))


def _list_cached(repository: str, revision: str | None) -> _Files | None:
    from huggingface_hub import snapshot_download

    for branch in (revision,) if revision else (None, CONVERTED):
        try:
            here = snapshot_download(repository, repo_type="dataset", revision=branch, local_files_only=True)
        except Exception:  # nothing in the cache: the caller says why the hub did not answer
            continue
        files = tuple(sorted(str(p.relative_to(here).as_posix()) for p in Path(here).rglob("*.parquet")))
        if files:
            return _Files(repository, Path(here).name, files, Path(here))
    return None


def _fail(text: str, error: Exception) -> _Files:
    why = str(error).split("\n")[0][:200] or type(error).__name__
    raise DataError(
        f"dataset {text!r}: the hub does not give it ({type(error).__name__}: {why}). "
        "Check the name, the network, and your access to the repository."
    ) from None


def split_of(path: str) -> tuple[str, str]:
    """Return the part and the split that a Parquet file of a repository belongs to.

    Example:
        >>> split_of("mnist/train-00000-of-00001.parquet"), split_of("default/test/0000.parquet")
        (('mnist', 'train'), ('default', 'test'))
    """
    *folders, file = path.split("/")
    shard = _SHARD.fullmatch(file)
    split = shard[1] if shard else file.removesuffix(".parquet")
    if split.isdigit() and folders:
        split = folders.pop()
    part = folders[-1] if folders and folders[-1] != "data" else "default"
    return part, split.removeprefix("partial-")


def _choose_splits(text: str, name: HubName, found: _Files) -> tuple[list[str], list[str]]:
    """Files to train on, and files to test on; none of these where a set comes in one part."""
    parts: dict[str, dict[str, list[str]]] = {}
    for path in found.files:
        part, split = split_of(path)
        parts.setdefault(part, {}).setdefault(split, []).append(path)
    part = name.part or ("default" if "default" in parts else next(iter(parts)))
    if part not in parts or (name.part is None and part != "default" and len(parts) > 1):
        raise DataError(
            f"dataset {text!r}: name one of its parts {sorted(parts)}, such as hub:{name.repository}/{min(parts)}."
        )
    splits = parts[part]
    test = next((split for split in TESTS if split in splits), None)
    whole = len(splits) == 1 and found.folder is None
    if "train" not in splits or (test is None and not whole):
        hint = "" if found.folder is None else " in the cache, and the hub cannot be asked for more"
        raise DataError(f"dataset {text!r}: has the splits {sorted(splits)}{hint}; it needs train and test.")
    for files in splits.values():
        _check_shards(text, files)
    return splits["train"], splits[test] if test else []


def _check_shards(text: str, files: Sequence[str]) -> None:
    shards = [match for file in files if (match := _SHARD.fullmatch(file.rsplit("/", 1)[-1]))]
    missing = {i for shard in shards for i in range(min(int(shard[3]), 10_000))} - {int(shard[2]) for shard in shards}
    if missing:
        raise DataError(f"dataset {text!r}: of the files beside {files[0]}, numbers {sorted(missing)[:5]} are missing.")


def _fetch(text: str, found: _Files, names: Sequence[str]) -> list[Path]:
    from huggingface_hub import hf_hub_download

    if found.folder is not None:
        return [found.folder / name for name in names]
    try:
        return [
            Path(hf_hub_download(found.repository, name, repo_type="dataset", revision=found.commit)) for name in names
        ]
    except Exception as error:  # as above
        _fail(text, error)
        raise
