"""From a row of a table to its checkpoint, on this machine alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

from weightspace.errors import ExplorerError

if TYPE_CHECKING:
    from weightspace.checkpoint.checkpoint import Checkpoint
    from weightspace.zoo.store import Population


@final
class RowSources:
    """Loads what the column `path` of a table names: a file or folder, or `population:id`. Never asks a hub.

    Args:
        beside: Folder of the table; relative paths are looked up from where the command runs, then from here.
        populations: Folders of populations that the table was embedded from; those that ship are known.
    """

    def __init__(self, beside: Path, populations: Sequence[Path] = ()) -> None:
        self.beside = beside
        self.folders = {folder.resolve().name: folder for folder in populations}
        self._opened: dict[str, Population] = {}

    def load(self, path: str) -> Checkpoint:
        """Return the checkpoint of a row.

        Raises:
            ExplorerError: Nothing of this name is on this machine.
            CheckpointError, ZooError: It is there and cannot be read.
        """
        from weightspace.checkpoint.load import load_checkpoint

        for file in (Path(path), self.beside / path):
            if file.exists():
                return load_checkpoint(file)
        name, colon, identity = path.partition(":")
        if not colon:
            raise ExplorerError(f"{path} is not on this machine: run the command where the table was made.")
        return self._population(name).checkpoint(identity)

    def _population(self, name: str) -> Population:
        from weightspace.errors import ZooError
        from weightspace.zoo.store import find_population

        if name not in self._opened:
            try:
                self._opened[name] = find_population(self.folders.get(name, self.beside / name))
            except ZooError:
                self._opened[name] = self._shipped(name)
        return self._opened[name]

    def _shipped(self, name: str) -> Population:
        from weightspace.errors import ZooError
        from weightspace.zoo.store import find_population

        try:
            return find_population(name)
        except ZooError:
            raise ExplorerError(
                f"the population {name!r} is not on this machine: name its folder (--population)."
            ) from None
