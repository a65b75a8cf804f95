"""Populations of small networks: made by recipes, indexed by a manifest, read lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from weightspace.zoo.store import Population


def load(name: str | Path) -> Population:
    """Open a population by its folder, or by its name where it ships with the package.

    Raises:
        ZooError: There is no such population, or its manifest cannot be read.
    """
    from weightspace.zoo.store import find_population

    return find_population(name)
