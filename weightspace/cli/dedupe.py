"""`weightspace dedupe`: checkpoints that are one network in disguise."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING

from weightspace.cli.collect import collect
from weightspace.cli.manners import Inputs, progress
from weightspace.cli.show import show

if TYPE_CHECKING:
    from weightspace.inspect.dedupe import Duplicates
    from weightspace.inspect.sections import Section


def dedupe(paths: Inputs, /, *, trust: bool = False, json: bool = False) -> int:
    """Find copies that no hash finds: relabelled, rescaled, rounded or slightly noised networks, with the evidence.

    Units are matched, and rescaled where a stored program shows that this keeps the function. Distances are relative
    to the size of the weights; independent runs are about 1 apart.

    Args:
        paths: Files, folders, hub ids, populations, or - for a list of them on standard input.
        trust: Let plain values stand for reviewed harmless classes in a pickle; nothing is run either way.
        json: Print one JSON object.
    """
    from weightspace.inspect.dedupe import find_duplicates

    collection = collect(paths, trust=trust)
    with progress("pair") as update:
        found = find_duplicates(collection, progress=update)
    if json:
        print(jsonlib.dumps({**found.as_dict(), "problems": collection.problems}, indent=1, allow_nan=False))
    else:
        show(_sections(found))
    return 1 if collection.problems else 0


def _sections(found: Duplicates) -> list[Section]:
    from weightspace.inspect.sections import Section, number_text

    copies = sum(len(group) - 1 for group in found.groups)
    title = f"{len(found.looked_at)} checkpoints, {len(found.groups)} groups of copies, {copies} too many"
    columns = ("group", "checkpoint", "copy", "kind", "distance", "as stored", "relabelled")
    of = {name: n for n, group in enumerate(found.groups, 1) for name in group}
    rows = [
        (
            str(of[pair.a]),
            pair.a,
            pair.b,
            pair.kind,
            number_text(pair.distance),
            number_text(pair.unaligned),
            f"{pair.relabelled:.0%}",
        )
        for pair in sorted(found.pairs, key=lambda pair: of[pair.a])
    ]
    return [Section(title, columns, tuple(rows), frozenset({4, 5, 6}))]
