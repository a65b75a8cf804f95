"""Many checkpoints, a few at a time: read once, kept in buckets of one architecture, encoded together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.digest import content_hash
from weightspace.checkpoint.find import find_checkpoints
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode.batch import Signature, signature
from weightspace.encode.cache import RowCache

if TYPE_CHECKING:
    from weightspace.encode.encoder import Encoder

Source = Checkpoint | str | os.PathLike[str]
Progress = Callable[[int, int], None]
HELD = 1 << 25
ALONE = 1 << 22
"""Weights that wait in all, and weights from which a checkpoint waits for no other: nothing is won by stacking it."""


@dataclass
class _Item:
    """A source on its way through."""

    row: dict[str, Any]
    source: Source
    checkpoint: Checkpoint | None = None


@dataclass
class _Buckets:
    """Checkpoints that wait for others of their architecture."""

    items: dict[Signature, list[_Item]] = field(default_factory=dict)
    held: int = 0

    def add(self, item: _Item, key: Signature) -> list[_Item]:
        assert item.checkpoint is not None
        self.items.setdefault(key, []).append(item)
        self.held += item.checkpoint.header.weights
        return self.items[key]

    def take(self, key: Signature) -> list[_Item]:
        items = self.items.pop(key)
        self.held -= sum(i.checkpoint.header.weights for i in items if i.checkpoint)
        return items

    def heaviest(self) -> Signature:
        return max(self.items, key=lambda k: sum(i.checkpoint.header.weights for i in self.items[k] if i.checkpoint))


def encode_rows(
    encoder: Encoder,
    sources: Source | Iterable[Source],
    *,
    batch_size: int,
    progress: Progress | None,
    cache: RowCache,
    trust: bool,
) -> list[dict[str, Any]]:
    """Return one row a source, in their order. At most `HELD` weights wait at any time."""
    items = list(_items(sources))
    done = 0
    for finished in _batches(items, batch_size, cache, trust):
        if isinstance(finished, list):
            _encode(encoder, finished, cache)
        done += len(finished) if isinstance(finished, list) else 1
        if progress:
            progress(done, len(items))
    return [item.row for item in items]


def _batches(items: list[_Item], batch_size: int, cache: RowCache, trust: bool) -> Iterator[list[_Item] | _Item]:
    """Yield an item that needs no encoding, or a batch that does, as soon as it is full or too much is held."""
    buckets = _Buckets()
    for item in items:
        key = _open(item, cache, trust)
        if key is None:
            yield item
            continue
        if item.row["weights"] >= ALONE:
            yield [item]
        elif len(buckets.add(item, key)) >= batch_size:
            yield buckets.take(key)
        while buckets.held > HELD:
            yield buckets.take(buckets.heaviest())
    while buckets.items:
        yield buckets.take(next(iter(buckets.items)))


def _open(item: _Item, cache: RowCache, trust: bool) -> Signature | None:
    """Read one checkpoint; None if its row is known already or it cannot be read."""
    try:
        local = isinstance(item.source, Checkpoint) or Path(item.source).exists()
        if not local:
            item.source = load_checkpoint(str(item.source), trust=trust)
        item.row["sha256"] = content_hash(item.source)
        row = cache.get(item.row["sha256"])
        if row is not None:
            item.row |= row
            return None
        source = item.source
        item.checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source, trust=trust)
        item.row["weights"] = item.checkpoint.header.weights
        return signature(item.checkpoint)
    except Exception as error:  # one bad file of any kind must not end the batch
        item.row["error"] = _reason(error)
        return None


def _encode(encoder: Encoder, items: list[_Item], cache: RowCache) -> None:
    """Fill in the rows of a batch; if it fails, of each item alone."""
    checkpoints = [item.checkpoint for item in items if item.checkpoint]
    try:
        found, lost = encoder.encode_stack(*checkpoints)
        graph = encoder.architectures.of(checkpoints[0]).graph
        about = {"understood": graph.understood, "free_units": graph.free_units}
        for item, vector, bad in zip(items, found.vector.float(), lost, strict=True):
            item.row |= {"vector": vector.tolist(), "nonfinite": bad, **about}
            cache.put(item.row["sha256"], item.row)
    except Exception as error:  # as above
        if len(items) == 1:
            items[0].row["error"] = _reason(error)
        else:
            for item in items:
                _encode(encoder, [item], cache)
    for item in items:
        item.checkpoint = None


def _items(sources: Source | Iterable[Source]) -> Iterator[_Item]:
    listed = [sources] if isinstance(sources, Checkpoint | str | os.PathLike) else list(sources)
    flat: list[Source] = []
    for source in listed:
        flat += [source] if isinstance(source, Checkpoint) else find_checkpoints([source])
    paths = [str(source) for source in flat if not isinstance(source, Checkpoint)]
    names = dict(zip(paths, _ids(paths), strict=True))
    for source in flat:
        path = source.source if isinstance(source, Checkpoint) else str(source)
        yield _Item({"id": names.get(path, path), "path": path}, source)


def _ids(paths: list[str]) -> list[str]:
    """Paths below what they have in common, without suffix where that keeps them apart."""
    full = [os.path.abspath(path) if os.path.exists(path) else path for path in paths]
    inside = [path for path in full if os.path.isabs(path)]
    root = os.path.commonpath([os.path.dirname(path) for path in inside]) if inside else ""
    long = [os.path.relpath(path, root) if os.path.isabs(path) else path for path in full]
    short = [os.path.splitext(name)[0] if os.path.isabs(path) else name for name, path in zip(long, full, strict=True)]
    return [a if short.count(a) == 1 else b for a, b in zip(short, long, strict=True)]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
