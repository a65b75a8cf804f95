"""A directive that prints what `weightspace VERB --help` says of each verb, so that the page cannot fall behind."""

from __future__ import annotations

import io

from docutils import nodes
from docutils.parsers.rst import Directive
from rich.console import Console
from sphinx.application import Sphinx

from weightspace.cli import VERBS, app

GROUPS = ("bench", "train", "zoo")
"""Verbs that hold verbs of their own."""


class VerbHelp(Directive):
    """One section a verb."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return [_section(verb) for verb in sorted(VERBS)]


def _section(verb: str) -> nodes.section:
    section = nodes.section(ids=[f"verb-{verb}"], names=[f"weightspace {verb}"])
    section += nodes.title(text=f"weightspace {verb}")
    section += nodes.literal_block(text=_help(verb), language="text")
    if verb in GROUPS:
        names = [name for name in app()[verb] if not name.startswith("-")]
        section += [nodes.literal_block(text=_help(verb, name), language="text") for name in names]
    return section


def _help(*words: str) -> str:
    page = io.StringIO()
    app().help_print(list(words), console=Console(file=page, width=88, color_system=None))
    return "\n".join(line.rstrip() for line in page.getvalue().strip().splitlines())


def setup(sphinx: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    sphinx.add_directive("verb-help", VerbHelp)
    return {"parallel_read_safe": True}
