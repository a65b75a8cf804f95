"""Writes the reference page of the public names, by package, in the order of the data flow."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from weightspace import _HOME

PACKAGES = {
    "checkpoint": "Reading and writing",
    "graph": "Graphs and their symmetries",
    "execute": "Running networks",
    "encode": "Encoders",
    "latents": "Tables of latents",
    "inspect": "Comparing weights",
    "decode": "Decoders",
    "generate": "Drawing latents",
    "audit": "Auditing what was drawn",
    "train": "Training",
}
MODULES = (
    "weightspace.errors",
    "weightspace.graph.symmetry.widen",
    "weightspace.execute.run",
    "weightspace.execute.measure",
    "weightspace.encode.predictor",
    "weightspace.latents.projection",
    "weightspace.latents.nearest",
    "weightspace.inspect.examine",
    "weightspace.inspect.likeness",
    "weightspace.inspect.question",
    "weightspace.inspect.deletion",
    "weightspace.zoo.store.Population",
    "weightspace.zoo.store.find_population",
    "weightspace.zoo.embed",
    "weightspace.train.config",
)
"""Beyond the catalogue: what guides and notebooks use."""


def write_catalogue(page: Path) -> None:
    """Write the page, unless it is there already as it would be written."""
    lines = ["# Public names", "", "Everything here is `import weightspace as ws` and then `ws.name`."]
    for package, names in groupby(_HOME, key=lambda name: _HOME[name].split(".")[0]):
        lines += ["", f"## {PACKAGES.get(package, package)}", "", *_summary(f"weightspace.{name}" for name in names)]
    lines += ["", "# Modules", "", "What guides and notebooks use besides.", "", *_summary(MODULES)]
    text = "\n".join(lines) + "\n"
    if not page.is_file() or page.read_text() != text:
        page.write_text(text)


def _summary(names: Iterable[str]) -> list[str]:
    return ["```{eval-rst}", ".. autosummary::", "   :toctree: generated", "", *(f"   {n}" for n in names), "```"]
