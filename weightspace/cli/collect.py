"""Reading the many checkpoints that a verb compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightspace.cli.manners import UsageError, complain_about, progress

if TYPE_CHECKING:
    from weightspace.inspect.collection import Collection


def collect(paths: Sequence[str], *, trust: bool, least: int = 2) -> Collection:
    """Read checkpoints and populations, naming on standard error what cannot be read.

    Raises:
        UsageError: A path is an option that does not exist, or fewer than `least` checkpoints are left.
    """
    from weightspace.inspect.collection import read_collection

    for path in paths:
        if path.startswith("-") and path != "-":
            raise UsageError(f"unknown option {path} (a file of that name is ./{path}).")
    with progress("checkpoint") as update:
        collection = read_collection(paths, trust=trust, progress=update)
    for path, error in collection.problems.items():
        complain_about(path, error)
    found = len(collection.checkpoints)
    if found < least:
        raise UsageError(f"at least {least} checkpoints are needed to compare them; {found} could be read.")
    return collection
