"""From what a file stores to what the network itself has: plain names, resolved weights, ties once. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.checkpoint.names import plain_names
from weightspace.checkpoint.resolve.plan import Stored
from weightspace.checkpoint.resolve.table import RESOLUTIONS
from weightspace.errors import CheckpointError

SAVED = "weightspace"
"""Metadata key of files written here: their names are the network's own and are taken as they are."""


def tidy(stored: Stored) -> tuple[Stored, dict[str, str]]:
    """Plain names, every resolution applied, and ties: kept names only, with the other names of each.

    Files written here come back exactly as they were saved.

    Raises:
        CheckpointError: What is stored does not fit together.
    """
    if SAVED in stored.header.metadata:
        return _as_saved(stored)
    stored = _renamed(_with_aliases(stored))
    for find in RESOLUTIONS:
        finding = find(stored.header)
        if finding.derived or finding.left_out or finding.notes:
            stored = stored.resolve(finding)
    return _without_ties(stored)


def tidy_header(header: Header) -> Header:
    """The same for a header alone.

    Raises:
        ValuesNeeded: The shape of a packed tensor stands in its data.
    """
    stored, shared = tidy(Stored(header, {name: name for name in header.tensors}, None))
    return Header(stored.header.tensors, stored.header.metadata, shared)


def pack_state(shared: Mapping[str, str], left_out: Mapping[str, str]) -> str:
    """What is kept in the metadata of files written here."""
    return json.dumps({"format": 1, "shared": dict(shared), "left_out": dict(left_out)})


def _as_saved(stored: Stored) -> tuple[Stored, dict[str, str]]:
    metadata = dict(stored.header.metadata)
    try:
        state = json.loads(metadata.pop(SAVED))
        shared, left_out = state["shared"], state["left_out"]
        texts = [*shared, *shared.values(), *left_out, *left_out.values()]
        if not all(isinstance(text, str) for text in texts) or not set(shared.values()) <= set(stored.header.tensors):
            raise ValueError("names that are not there")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"metadata {SAVED!r} is not readable ({error}). Save the checkpoint again.") from None
    return Stored(Header(stored.header.tensors, metadata), stored.identity, stored.tensors, left_out), shared


def _with_aliases(stored: Stored) -> Stored:
    """Names that safetensors' `save_model` keeps in the metadata, as tensors of their own."""
    infos, metadata = stored.header.tensors, stored.header.metadata
    aliases = {name: kept for name, kept in metadata.items() if kept in infos and name not in infos}
    if not aliases:
        return stored
    more = {name: TensorInfo(name, infos[kept].dtype, infos[kept].shape) for name, kept in aliases.items()}
    rest = {key: text for key, text in metadata.items() if key not in aliases}
    return Stored(
        Header({**infos, **more}, rest),
        {**stored.identity, **{name: stored.identity[kept] for name, kept in aliases.items()}},
        _plus(stored.tensors, aliases),
        stored.left_out,
    )


def _plus(tensors: Mapping[str, Any] | None, aliases: Mapping[str, str]) -> Mapping[str, Any] | None:
    return None if tensors is None else {**tensors, **{name: tensors[kept] for name, kept in aliases.items()}}


def _renamed(stored: Stored) -> Stored:
    plain = plain_names(stored.header.tensors)
    infos = {plain[old]: TensorInfo(plain[old], info.dtype, info.shape) for old, info in stored.header.tensors.items()}
    return Stored(
        Header(infos, stored.header.metadata),
        {plain[old]: key for old, key in stored.identity.items()},
        None if stored.tensors is None else {plain[old]: tensor for old, tensor in stored.tensors.items()},
        stored.left_out,
    )


def _without_ties(stored: Stored) -> tuple[Stored, dict[str, str]]:
    first: dict[Hashable, str] = {}
    for name, key in stored.identity.items():
        first.setdefault(key, name)
    shared = {name: first[key] for name, key in stored.identity.items() if first[key] != name}
    infos = {name: info for name, info in stored.header.tensors.items() if name not in shared}
    tensors = stored.tensors
    kept = None if tensors is None else {name: tensors[name] for name in infos}
    return Stored(Header(infos, stored.header.metadata), stored.identity, kept, stored.left_out), shared
