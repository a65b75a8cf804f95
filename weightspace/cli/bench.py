"""`weightspace bench`: how well a decoder, or a generator, does on a population of yours."""

from __future__ import annotations

import json as jsonlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from weightspace.cli.generate import GUIDANCE
from weightspace.cli.manners import progress
from weightspace.cli.show import show
from weightspace.encode import DEFAULT

if TYPE_CHECKING:
    from weightspace.audit.reference import Reference
    from weightspace.decode.decoder import Decoder
    from weightspace.generate.generator import Generator
    from weightspace.inspect.sections import Section

bench = App(name="bench", default_parameter=Parameter(negative=""))


@Parameter(name="*")
@dataclass(frozen=True)
class By:
    """What is measured with.

    Args:
        encoder: Name or folder of the encoder whose latents are decoded.
        data_dir: Folder of dataset files, such as mnist.npz.
    """

    encoder: str = DEFAULT
    data_dir: Path | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Drawn:
    """Which networks are generated.

    Args:
        count: How many.
        condition: Such as test_accuracy=0.9.. or activation=relu; may be repeated.
        seed: Of all that is drawn.
    """

    count: Annotated[int, Parameter(validator=Number(gte=2))] = 64
    condition: tuple[str, ...] = ()
    seed: int = 0


_SHIPPED, _ANY = By(), Drawn()
COLUMNS = {
    "agreement": "agreement",
    "agreement_of_finished": "finished",
    "kappa": "kappa",
    "accuracy": "accuracy",
    "gap": "gap",
    "correlation": "correlation",
    "disagreement_share": "diversity",
    "share": "share",
}
NOTES = (
    "agreement: share of test inputs that a decoded network and its original answer alike; finished: of originals of "
    "at least 0.25 accuracy; kappa: agreement beyond chance.",
    "gap: mean accuracy over that of the originals; correlation: of both. diversity: what two decoded networks "
    "disagree, over what their originals do. share: agreement over that of the own architecture.",
)


@bench.command
def decode(decoder: str, populations: list[str], /, *, by: By = _SHIPPED, json: bool = False) -> int:
    """Measure a decoder on held-out networks: the part `test` of populations, on test inputs.

    Decoded into their own architecture, from latents of 8 bits a number too, into other widths, one layer deeper, and
    for images into a perceptron.

    Args:
        decoder: Name of a decoder that ships, or its folder.
        populations: Folders, or names of populations that come with the package.
        by: What is measured with.
        json: Print one JSON object.
    """
    from weightspace.audit.decoding import measure_decoder
    from weightspace.decode.decoder import Decoder
    from weightspace.encode.encoder import Encoder
    from weightspace.zoo.store import find_population

    held, encoder, found = Decoder.from_pretrained(decoder), Encoder.from_pretrained(by.encoder), {}
    held.check_encoder(encoder.id)
    for name, population in [(name, find_population(name)) for name in populations]:
        with progress("architecture") as update:
            found[name] = measure_decoder(held, encoder, population, data_dir=_text(by.data_dir), report=update)
    if json:
        told = {"decoder": held.id, "encoder": encoder.id, "populations": {n: _plain(r) for n, r in found.items()}}
        print(jsonlib.dumps(told, indent=1, allow_nan=False))
        return 0
    show([_section(f"{held.id} on {name}", rows) for name, rows in found.items()])
    print("\n".join(NOTES))
    return 0


def _section(title: str, rows: Mapping[str, Mapping[str, float]]) -> Section:
    from weightspace.inspect.sections import Section

    first = next(iter(rows.values()))
    title += f": {first['networks']:.0f} networks, originals of accuracy {first['accuracy_of_originals']:.3f}"
    cells = tuple((name, *(f"{_of(row, column):.3f}" for column in COLUMNS)) for name, row in rows.items())
    return Section(title, ("decoded into", *COLUMNS.values()), cells, frozenset(range(1, len(COLUMNS) + 1)))


def _of(row: Mapping[str, float], column: str) -> float:
    gap = row["accuracy"] - row["accuracy_of_originals"]
    return gap if column == "gap" else row.get(column, float("nan"))


def _plain(rows: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """As JSON has it: no NaN."""
    told = {name: {**row, "gap": _of(row, "gap")} for name, row in rows.items()}
    return {name: {key: v if math.isfinite(v) else None for key, v in row.items()} for name, row in told.items()}


@bench.command
def generate(
    generator: str,
    population: str | None = None,
    /,
    *,
    decoder: str | None = None,
    drawn: Drawn = _ANY,
    by: By = _SHIPPED,
    json: bool = False,
) -> int:
    """Measure a generator: the audit of a sample, beside baselines and held-out networks. Nothing is written.

    With a population, everything that the sample is held against is made anew from its networks, which shows another
    decoder too; without, what travels with the generator serves.

    Args:
        generator: One that ships, or its folder.
        population: A folder or name: the population that the generator was fitted to.
        decoder: Name of a decoder that ships, or its folder; by default the one that the generator was audited with.
        drawn: Which networks are generated.
        by: What is measured with.
        json: Print one JSON object.
    """
    from weightspace.audit.audit import audit_sample
    from weightspace.audit.reference import Reference
    from weightspace.audit.report import NOTES as EXPLAINED
    from weightspace.audit.report import audit_sections
    from weightspace.decode.decoder import Decoder
    from weightspace.generate.files import find_generator
    from weightspace.generate.generator import Generator

    folder = find_generator(generator)
    made, kept = Generator.from_pretrained(folder), Reference.load(folder)
    held = Decoder.from_pretrained(decoder or kept.decoder.rpartition("@")[0])
    reference = kept if population is None else _anew(made, held, population, by)
    guidance = GUIDANCE if made.prior.guided and drawn.condition else 1.0
    sample = made.sample(drawn.count, condition=drawn.condition, seed=drawn.seed, guidance=guidance)
    about = {
        "generator": f"{made.name} ({made.kind})",
        "decoder": held.id,
        "condition": ", ".join(drawn.condition) or "none",
    }
    audit = audit_sample(sample, made, held, reference, about | {"seed": str(drawn.seed)})
    if json:
        print(jsonlib.dumps(audit.as_dict(), indent=1, allow_nan=False))
        return 0
    show(audit_sections(audit))
    print("\n".join(EXPLAINED))
    return 0


def _anew(generator: Generator, decoder: Decoder, population: str, by: By) -> Reference:
    from weightspace.audit.population import reference_of_population
    from weightspace.encode.encoder import Encoder
    from weightspace.zoo.store import find_population

    encoder, found = Encoder.from_pretrained(by.encoder), find_population(population)
    with progress("network") as update:
        return reference_of_population(generator, decoder, encoder, found, data_dir=_text(by.data_dir), report=update)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
