"""`weightspace attribute`: which units, blocks and stages carry what is told of a network."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

from weightspace.cli.manners import UsageError, read_inputs, read_labels
from weightspace.cli.show import show
from weightspace.encode import DEFAULT

if TYPE_CHECKING:
    from weightspace.checkpoint.checkpoint import Checkpoint
    from weightspace.encode.encoder import Encoder
    from weightspace.inspect.attribute import Attribution
    from weightspace.inspect.deletion import Deletion
    from weightspace.inspect.question import Question
    from weightspace.inspect.sections import Section

SHOWN = 20  # units that are printed; --json has all


@Parameter(name="*")
@dataclass(frozen=True)
class Asked:
    """What is put down to parts of a network.

    Args:
        tells: A property: one that the encoder predicts, or a column of numbers of `--table`. Of a property of names
            say which, as in dataset=mnist. `answers`: how far the network's answers to the encoder's learned inputs,
            or to those of `--inputs`, stay the same. `accuracy`: the share of `--inputs` that the network itself names
            as `--labels` do, blurred so that it has slopes. By default test_accuracy; with `--before`, the distance of
            the latents.
        inputs: A .npy file of inputs of the network, one each row, for `answers` and `accuracy`.
        labels: A .npy file of their classes, for `accuracy`.
        table: Table that the same encoder wrote: a linear probe is fitted to its column instead.
        encoder: Encoder that ships, or the folder of one.
    """

    tells: str | None = None
    inputs: Path | None = None
    labels: Path | None = None
    table: Path | None = None
    encoder: str = DEFAULT


_DEFAULT = Asked()


def attribute(
    checkpoint: str,
    /,
    *,
    before: str | None = None,
    asked: Asked = _DEFAULT,
    method: Literal["integrated", "gradient", "leave-one-out"] = "integrated",
    trust: bool = False,
    json: bool = False,
) -> int:
    """Show which units, blocks and stages carry what is told of a network, or the difference to another one.

    Beside it: what taking the highest units away changes, and what random ones do.

    Args:
        checkpoint: A file, folder or hub id, or `POPULATION:ID` for a network of a population.
        before: An earlier checkpoint of the same architecture: the difference between the two is put down to what
            changed, by integrated gradients.
        asked: What is told.
        method: How parts of units are found. `leave-one-out` takes one unit away after the other.
        trust: Let plain values stand for reviewed harmless classes in a pickle; nothing is run either way.
        json: Print one JSON object.
    """
    if before is not None and method != "integrated":
        raise UsageError(f"--method {method} is for one network; a difference is always integrated.")
    from weightspace.encode.encoder import Encoder
    from weightspace.inspect.attribute import attribute as put_down
    from weightspace.inspect.attribute import attribute_difference
    from weightspace.inspect.collection import read_checkpoint
    from weightspace.inspect.deletion import deletion_curve

    encoder, network = Encoder.from_pretrained(asked.encoder), read_checkpoint(checkpoint, trust=trust)
    curve: tuple[Deletion, ...] = ()
    if before is not None:
        question = None if asked.tells is None else _question(encoder, network, asked)
        found = attribute_difference(encoder, read_checkpoint(before, trust=trust), network, question)
    else:
        question = _question(encoder, network, asked)
        found = put_down(encoder, network, question, method=method)
        curve = deletion_curve(encoder, network, question, found)
    if json:
        told = found.as_dict() | {"deletion": [row.as_dict() for row in curve]}
        print(jsonlib.dumps(told, indent=1, allow_nan=False))
    else:
        show(_sections(found, curve))
    return 0


def _question(encoder: Encoder, network: Checkpoint, asked: Asked) -> Question:
    from weightspace.inspect.question import ask_accuracy, ask_answers, ask_predictor, ask_table

    name, _, answer = (asked.tells or "test_accuracy").partition("=")
    if asked.inputs is not None and (name not in ("answers", "accuracy") or asked.table is not None):
        raise UsageError("--inputs is for --tells answers or accuracy, without --table.")
    if (asked.labels is not None) != (name == "accuracy" and asked.table is None):
        raise UsageError("--tells accuracy takes --inputs and --labels, which nothing else takes.")
    if asked.table is not None:
        from weightspace.latents.table import LatentTable

        return ask_table(encoder, LatentTable.read_parquet(asked.table), name)
    inputs = None if asked.inputs is None else read_inputs(asked.inputs)
    if asked.labels is not None:
        if inputs is None:
            raise UsageError("--tells accuracy takes --inputs beside --labels.")
        return ask_accuracy(encoder, network, inputs, read_labels(asked.labels))
    if name == "answers":
        return ask_answers(encoder, network, inputs)
    return ask_predictor(encoder, name, answer or None)


def _sections(found: Attribution, curve: tuple[Deletion, ...]) -> list[Section]:
    from weightspace.inspect.sections import Section, number_text

    rows = [("question", found.question), ("told", number_text(found.value)), ("method", found.method)]
    title = found.source
    if found.reference is not None:
        title = f"{found.other} -> {found.source}"
        rows.insert(1, ("told before", number_text(found.reference)))
        rows.append(("blocks add up to", number_text(sum(found.blocks.values()))))
    sections = [Section(title, ("", ""), tuple(rows))]
    units = found.ranked[:SHOWN]
    headline = "units" if len(units) == len(found.units) else f"units, the highest {SHOWN} of {len(found.units):,}"
    cells = tuple((u.axis, str(u.unit), number_text(u.part)) for u in units)
    sections.append(Section(headline, ("axis", "unit", "part"), cells, frozenset({1, 2})))
    for headline, parts in (("blocks", found.blocks), ("stages", found.stages)):
        pairs = tuple((name, number_text(part)) for name, part in parts.items())
        sections.append(Section(headline, (headline[:-1], "part"), pairs, frozenset({1})))
    if curve:
        columns = ("share", "units", "highest", "random", "spread", "ratio")
        numbers = tuple(
            (f"{d.share:.0%}", str(d.units), *map(number_text, (d.top, d.random, d.spread, d.ratio))) for d in curve
        )
        sections.append(Section("change with units taken away", columns, numbers, frozenset(range(6))))
    return sections
