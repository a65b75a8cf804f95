"""`weightspace diff`: two checkpoints unit by unit."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING

from weightspace.cli.show import show

if TYPE_CHECKING:
    from weightspace.inspect.diff import Difference
    from weightspace.inspect.sections import Section

SHOWN = 40  # changed units that are printed; --json has all


def diff(a: str, b: str, /, *, trust: bool = False, json: bool = False) -> int:
    """Show what became of one checkpoint in another: moved, new, dead and duplicated units, blocks, and behaviour.

    Units are matched first, so that their order does not count.

    Args:
        a: The one before: a file, folder or hub id, or `POPULATION:ID` for a network of a population.
        b: The one after, of the same architecture.
        trust: Let plain values stand for reviewed harmless classes in a pickle; nothing is run either way.
        json: Print one JSON object.
    """
    from weightspace.inspect.collection import read_checkpoint
    from weightspace.inspect.diff import diff as compare

    found = compare(read_checkpoint(a, trust=trust), read_checkpoint(b, trust=trust))
    if json:
        print(jsonlib.dumps(found.as_dict(), indent=1, allow_nan=False))
    else:
        show(_sections(found))
    return 0


def _sections(found: Difference) -> list[Section]:
    from weightspace.inspect.sections import Section, number_text

    answers = found.behaviour
    agreement = "not known" if answers.agreement is None else f"{answers.agreement:.1%} of {answers.inputs} inputs"
    rows = [
        ("verdict", found.verdict),
        ("distance", f"{number_text(found.distance)} of the weights' size once units match"),
        ("as stored", number_text(found.unaligned)),
        ("relabelled", f"{found.relabelled:.1%} of hidden units stand elsewhere"),
        ("answers agree", answers.reason or f"{agreement} (random ones, not the training data)"),
        ("answers differ", "-" if answers.distance is None else f"{number_text(answers.distance)} of their deviation"),
    ]
    sections = [Section(f"{found.a} -> {found.b}", ("", ""), tuple(rows))]
    changed = found.changed
    if changed:
        title = "changed units" if len(changed) <= SHOWN else f"changed units, {SHOWN} of {len(changed)}"
        columns = ("axis", "unit", "was", "state", "change", "cosine", "growth")
        cells = tuple(
            (u.axis, str(u.unit), str(u.was), u.state, *map(number_text, (u.change, u.cosine, u.growth)))
            for u in changed[:SHOWN]
        )
        sections.append(Section(title, columns, cells, frozenset({1, 2, 4, 5, 6})))
    headings = ("tensor", "change", "spectral change", "spectral norms")
    rows_of_blocks = tuple(
        (
            block.tensor,
            number_text(block.change),
            number_text(block.spectral),
            "-" if block.norms is None else " -> ".join(map(number_text, block.norms)),
        )
        for block in found.blocks
    )
    return [*sections, Section("blocks", headings, rows_of_blocks, frozenset({1, 2}))]
