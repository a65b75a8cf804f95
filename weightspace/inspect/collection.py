"""Checkpoints from files, folders, hub ids and populations, side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.find import find_checkpoints
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import WeightspaceError
from weightspace.execute.stack import unstack_tensors
from weightspace.zoo.manifest import MANIFEST
from weightspace.zoo.store import Population, find_population

Progress = Callable[[int, int], None]
Source = Checkpoint | str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Collection:
    """Checkpoints by name, in the order in which they were given.

    Args:
        checkpoints: By id: the path, or `population:id` for a row of a population.
        problems: What could not be read, or has no weights to compare, with the reason.
    """

    checkpoints: dict[str, Checkpoint]
    problems: dict[str, str] = field(default_factory=dict)


def read_collection(sources: Iterable[Source], *, trust: bool = False, progress: Progress | None = None) -> Collection:
    """Read every checkpoint that is meant; one that fails is named and left out.

    A folder that is a population gives its rows, with the programs of its networks.

    Args:
        sources: Checkpoints, files, folders, hub ids, or folders and names of populations.
        trust: Let plain values stand for reviewed harmless classes in a pickle.
        progress: Told how many of how many are read.
    """
    items: list[Source] = []
    for source in sources:
        items += [source] if isinstance(source, Checkpoint) or _is_population(source) else find_checkpoints([source])
    found, problems = Collection({}), {}
    for done, item in enumerate(items, 1):
        try:
            new = _read(item, trust)
        except Exception as error:  # one bad file of any kind must not end the batch
            said = str(error) if isinstance(error, WeightspaceError) else f"{type(error).__name__}: {error}"
            problems[str(item)] = said
            continue
        for name, checkpoint in new.items():
            found.checkpoints[_free(name, found.checkpoints)] = checkpoint
        if progress:
            progress(done, len(items))
    bad = {name: c.non_finite for name, c in found.checkpoints.items() if c.non_finite}
    for name, tensors in bad.items():
        del found.checkpoints[name]
        problems[name] = f"holds numbers that are not finite, in {', '.join(tensors[:3])}: it cannot be compared."
    return Collection(found.checkpoints, problems)


def read_checkpoint(source: Source, *, trust: bool = False) -> Checkpoint:
    """Return one checkpoint: a file, folder or hub id, or `POPULATION:ID` for a network of a population.

    Raises:
        ZooError: The population has no network of that id.
        CheckpointError: The file cannot be read; see `load_checkpoint`.
    """
    if isinstance(source, Checkpoint):
        return source
    population, _, identity = os.fspath(source).partition(":")
    if identity and not os.path.exists(source) and _is_population(population):
        return find_population(population).checkpoint(identity)
    return load_checkpoint(source, trust=trust)


def population_checkpoints(population: Population, ids: Sequence[str] | None = None) -> dict[str, Checkpoint]:
    """Return the checkpoints of a population, all or those named, with their programs, many read at once."""
    rows = population.frame(["id", "shard", "group", "row", "sha256", "architecture"])
    order = list(rows["id"] if ids is None else ids)
    rows = rows[rows["id"].isin(order)]
    found: dict[str, Checkpoint] = {}
    for batch, stacked in population.batches(rows):
        program = population.program(str(batch["architecture"].iloc[0]))
        metadata = {} if program is None else {"architecture": program}
        for name, tensors in zip(batch["id"], unstack_tensors(stacked), strict=True):
            found[name] = Checkpoint(tensors, metadata, source=f"{population.folder.name}:{name}")
    return {name: found[name] for name in order}


def _is_population(source: str | os.PathLike[str]) -> bool:
    if os.path.isdir(source):
        return Path(source, MANIFEST).is_file()
    if os.path.exists(source) or Path(source).name != str(source) or str(source) == "-":
        return False
    try:
        find_population(os.fspath(source))
    except WeightspaceError:
        return False
    return True


def _read(item: Source, trust: bool) -> dict[str, Checkpoint]:
    if isinstance(item, Checkpoint):
        return {item.source: item}
    if _is_population(item):
        return population_checkpoints(find_population(os.fspath(item)))
    return {str(item): load_checkpoint(item, trust=trust)}


def _free(name: str, taken: dict[str, Checkpoint]) -> str:
    """Return a name that is not taken yet."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free
