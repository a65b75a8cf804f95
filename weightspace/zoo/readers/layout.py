"""What a reader of a published zoo must say about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from weightspace.zoo.append import Part


@dataclass(frozen=True)
class Problem:
    """A file that could not be read, or could be read in part.

    Args:
        file: Below the zoo's folder.
        error: What is wrong with it.
    """

    file: str
    error: str


@dataclass(frozen=True, eq=False)
class Listing:
    """What a published zoo holds, before any weight is read.

    Args:
        rows: A row a checkpoint. `id`; `run_name`, shared by all checkpoints of one training; `bytes` of its weights;
            properties in the package's terms; `split` (`train`, `validation`, `test`) where the publisher has one,
            missing elsewhere. Columns that begin with `_` are the reader's own and are not kept.
        read: Takes some of the rows and yields their weights, stacked by architecture, and what could not be read.
        problems: What was found out while listing.
    """

    rows: pd.DataFrame
    read: Callable[[pd.DataFrame], Iterator[Part | Problem]]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One published layout; a new one is one file and one line in `LAYOUTS`.

    Args:
        title: What messages call it.
        matches: Whether a file or folder is laid out so; looks at names, and at headers of tables, not at weights.
        list_zoo: The checkpoints of a file or folder; raises `ZooError` where it does not keep to the layout.
    """

    title: str
    matches: Callable[[Path], bool]
    list_zoo: Callable[[Path], Listing]
