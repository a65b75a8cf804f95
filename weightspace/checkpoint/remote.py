"""Checkpoints of the Hugging Face hub: downloads, and headers by byte range. Knows no torch."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightspace.checkpoint.header import Header
from weightspace.checkpoint.header_safetensors import ReadBytes, parse_safetensors_header
from weightspace.checkpoint.header_sharded import merge_shards, parse_index, read_json
from weightspace.checkpoint.sniff import COMPANIONS, MAIN_FILES, is_checkpoint_name, local_file, main_file
from weightspace.errors import RemoteError, WeightspaceError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(/[\w.-]+)*")
TIMEOUT = 30
"""Seconds without an answer after which the hub counts as not reachable."""
FIRST = 2**17
"""Bytes fetched at once: most headers are shorter."""


@dataclass(frozen=True)
class Repository:
    """One revision of one repository, and the part of it that is meant.

    Args:
        name: `org/name`.
        commit: The commit that all files are taken from.
        files: Names of all its files.
        main: The file that holds the checkpoint.
    """

    name: str
    commit: str
    files: tuple[str, ...]
    main: str

    @property
    def folder(self) -> str:
        """Folder of the main file, with a slash at its end, or nothing."""
        return self.main[: self.main.rfind("/") + 1]

    def beside(self) -> dict[str, str]:
        """Configuration files beside the main file, by metadata key."""
        if self.main.removeprefix(self.folder) not in MAIN_FILES:
            return {}
        found = {key: f"{self.folder}{name}" for key, name in COMPANIONS.items()}
        return {key: name for key, name in found.items() if name in self.files}


def is_hub_id(text: str) -> bool:
    """Whether a text could name a repository (`org/name`), a folder or a file in one."""
    return HUB_ID.fullmatch(text) is not None and ".." not in text.split("/")


def download(source: str, revision: str | None) -> Path:
    """The checkpoint's local file, with its shards and configuration beside it, in the cache of the hub client.

    Where the hub cannot be reached, what the cache holds is used.

    Args:
        source: `org/name`, or a folder or file in it.
        revision: Branch, tag or commit; None for the main branch.

    Raises:
        RemoteError: Not reachable and not in the cache, or not there.
    """
    try:
        found = _repository(source, revision)
    except RemoteError as error:
        cached = _cached(source, revision)
        if cached is None:
            raise error
        return local_file(cached)
    path = _fetch(found, found.main, revision or "main")  # by its name, so that the cache knows where that pointed
    if found.main.endswith(".index.json"):
        for shard in parse_index(read_json(path), source):
            _fetch(found, f"{found.folder}{shard}")
    for name in found.beside().values():
        _fetch(found, name)
    return path


def read_remote_header(source: str, revision: str | None) -> Header | None:
    """Header of safetensors on the hub, by byte range; None for other formats, which must be downloaded.

    Raises:
        RemoteError: Not reachable or not there.
        CheckpointError: The header lies.
    """
    found = _repository(source, revision)
    if found.main.endswith(".safetensors"):
        raw = _ranged_header(found, found.main)
    elif found.main.endswith(".safetensors.index.json"):
        index = parse_index(read_json(_fetch(found, found.main)), source)
        raw = merge_shards(index, lambda shard: _ranged_header(found, f"{found.folder}{shard}"), source)
    else:
        return None
    beside = {key: _fetch(found, name).read_text("utf-8") for key, name in found.beside().items()}
    return Header(raw.tensors, {**beside, **raw.metadata})


def _repository(source: str, revision: str | None) -> Repository:
    from huggingface_hub import HfApi

    org, name, *inside = source.split("/")
    try:
        info = HfApi().model_info(f"{org}/{name}", revision=revision, timeout=TIMEOUT)
        files = tuple(file.rfilename for file in info.siblings or ())
        commit = str(info.sha)
    except Exception as error:  # the client passes on the errors of whichever HTTP package it uses
        raise _failure(source, revision, error) from None
    inner = "/".join(inside)
    if inner in files and is_checkpoint_name(inner):
        return Repository(f"{org}/{name}", commit, files, inner)
    folder = f"{inner}/" if inner else ""
    names = [file.removeprefix(folder) for file in files if file.startswith(folder)]
    here = [name for name in names if "/" not in name]
    try:
        return Repository(f"{org}/{name}", commit, files, folder + main_file(here, f"{source} on the hub"))
    except WeightspaceError as error:
        raise RemoteError(str(error)) from None


def _fetch(found: Repository, name: str, revision: str | None = None) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(found.name, name, revision=revision or found.commit))
    except Exception as error:  # as above
        raise _failure(f"{found.name}/{name}", found.commit, error) from None


def _cached(source: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download

    org, name, *inside = source.split("/")
    try:
        folder = snapshot_download(f"{org}/{name}", revision=revision, local_files_only=True)
    except Exception:  # nothing in the cache: the caller says why the hub did not answer
        return None
    return Path(folder, *inside)


def _ranged_header(found: Repository, name: str) -> Header:
    """Header of one file, from its first bytes; more are fetched only where it is longer."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    where = f"{found.name}/{name}"
    try:
        url = hf_hub_url(found.name, name, revision=found.commit)
        size = get_hf_file_metadata(url).size
    except Exception as error:  # as above
        raise _failure(where, found.commit, error) from None
    if size is None:
        raise RemoteError(f"{where}: the hub does not say how long the file is. Download it with load_checkpoint.")
    read = _ranged(url, where)
    start = read(0, min(FIRST, size))

    def from_start(first: int, last: int) -> bytes:
        return start[first:last] if last <= len(start) else read(first, last)

    return parse_safetensors_header(from_start, size, where)


def _ranged(url: str, where: str) -> ReadBytes:
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    def read(start: int, stop: int) -> bytes:
        headers = {**build_hf_headers(), "Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        try:
            with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as response:
                hf_raise_for_status(response)
                return _bounded(response, stop - start, where)
        except RemoteError:
            raise
        except Exception as error:  # as above
            raise _failure(where, None, error) from None

    return read


def _bounded(response: Any, most: int, where: str) -> bytes:
    """The part that was asked for; a server that sends the whole file is not listened to."""
    if response.status_code != 206:
        raise RemoteError(f"{where}: the hub ignores byte ranges. Download it with load_checkpoint.")
    data = b""
    for piece in response.iter_bytes():
        data += piece
        if len(data) > most:
            raise RemoteError(f"{where}: the hub sends more than the {most} bytes asked for. Try again later.")
    return data


def _failure(source: str, revision: str | None, error: Exception) -> RemoteError:
    why = str(error).split("\n")[0][:200] or type(error).__name__
    at = f" at revision {revision!r}" if revision else ""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RemoteError(
            f"{source}{at}: does not fit on the disk of the hub client's cache ({why}). Free some of it, or set "
            "HF_HOME to a folder on a larger disk."
        )
    return RemoteError(
        f"{source}{at}: no such path here, and the hub does not give it ({type(error).__name__}: {why}). "
        "Check the path or the name, the network, and your access to the repository."
    )
