"""Many checkpoints, a few at a time: read once, kept in buckets of one architecture, encoded together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.digest import content_hash, count_bytes
from weightspace.checkpoint.find import find_checkpoints
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode.batch import Signature, signature
from weightspace.encode.cache import RowCache
from weightspace.errors import DeviceMemoryError, EncoderError
from weightspace.execute.processes import Team

if TYPE_CHECKING:
    from weightspace.encode.encoder import Encoder

Source = Checkpoint | str | os.PathLike[str]
Progress = Callable[[int, int], None]
HELD = 1 << 25
ALONE = 1 << 22
"""Weights that wait in all, and weights from which a checkpoint waits for no other: nothing is won by stacking it."""
SHARED = 1 << 25
"""Bytes below which processes never share a checkpoint."""


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
    """Return one row a source, in their order. At most `HELD` weights wait at any time.

    Processes of a team share each large checkpoint and take some of the others whole, by their sizes in bytes; all get
    all rows. Progress is that of what a process has a part in.
    """
    items, team = list(_items(sources)), encoder.how.team
    if team.world == 1:
        large, own = list[int](), list(range(len(items)))
    else:
        large, own = _divide(team, team.tell(lambda: [float(count_bytes(item.source)) for item in items]))
    done = 0
    for i in large:
        _encode_together(encoder, items[i], cache, trust)
        done += 1
        if progress:
            progress(done, len(large) + len(own))
    alone = encoder if team.world == 1 else encoder.share(Team(device=team.device))
    for finished in _batches([items[i] for i in own], batch_size, cache, trust):
        if isinstance(finished, list):
            _encode(alone, finished, cache)
        done += len(finished) if isinstance(finished, list) else 1
        if progress:
            progress(done, len(large) + len(own))
    found = [row for rows in team.gather([(i, items[i].row) for i in own]) for row in rows]
    rows = {i: items[i].row for i in large} | dict(found)
    return [rows[i] for i in range(len(items))]


def _divide(team: Team, sizes: list[float]) -> tuple[list[int], list[int]]:
    """Which sources all processes share, and which are this one's."""
    least = max(SHARED, sum(sizes) / (2 * team.world))
    large = [i for i, size in enumerate(sizes) if size >= least]
    rest = [i for i, size in enumerate(sizes) if size < least]
    return large, [rest[i] for i in team.deal([sizes[i] for i in rest])]


def _encode_together(encoder: Encoder, item: _Item, cache: RowCache, trust: bool) -> None:
    """Fill in the row of a checkpoint that all processes share; none goes on while another cannot read it."""
    team = encoder.how.team
    item.row |= team.tell(lambda: _look_up(item, cache, trust))
    if "vector" in item.row or "error" in item.row:
        return
    _read(item, trust)
    failed = [error for error in team.gather(item.row.get("error")) if error]
    if failed:
        item.row["error"] = failed[0]
    else:
        _encode(encoder, [item], cache)


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
    item.row |= _look_up(item, cache, trust)
    if "vector" in item.row or "error" in item.row:
        return None
    return _read(item, trust)


def _look_up(item: _Item, cache: RowCache, trust: bool) -> dict[str, Any]:
    """What is known of a source before its weights are looked at: its hash, or all of it, or an error."""
    try:
        local = isinstance(item.source, Checkpoint) or Path(item.source).exists()
        if not local:
            item.source = load_checkpoint(str(item.source), trust=trust)
        digest = content_hash(item.source)
        return {"sha256": digest} | (cache.get(digest) or {})
    except Exception as error:  # one bad file of any kind must not end the batch
        return {"error": _reason(error)}


def _read(item: _Item, trust: bool) -> Signature | None:
    """Read one checkpoint; None if that cannot be done."""
    try:
        source = item.source
        item.checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source, trust=trust)
        item.row["weights"] = item.checkpoint.header.weights
        return signature(item.checkpoint)
    except Exception as error:  # as above
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
        if encoder.how.team.world > 1 and (isinstance(error, DeviceMemoryError) or not isinstance(error, EncoderError)):
            raise  # the others may wait for what this process cannot tell them
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
