"""`weightspace zoo`: make populations of small networks, look into them, measure, import and export them."""

from __future__ import annotations

import json as jsonlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import UsageError, check_device, check_output, complain_about, progress
from weightspace.cli.show import show
from weightspace.cli.zoo_tables import built_sections, evaluation_sections, list_sections, population_sections
from weightspace.encode import DEFAULT

if TYPE_CHECKING:
    from weightspace.zoo.build import Progress

zoo = App(name="zoo", default_parameter=Parameter(negative=""))

Output = Annotated[Path, Parameter(name=("--output", "-o"))]
Device = Literal["cpu", "cuda"]
CONDITION = re.compile(r"\s*(\w+)\s*(==|!=|>=|<=|>|<|=)\s*(.+?)\s*")


@zoo.command(name="list")
def list_(*, json: bool = False) -> int:
    """List the recipes and populations that come with the package.

    Args:
        json: Print one JSON list with an entry for each.
    """
    from weightspace.zoo.summary import list_shipped

    return _print(list_shipped(), list_sections, json)


@Parameter(name="*")
@dataclass(frozen=True)
class Training:
    """How a build is done.

    Args:
        data_dir: Folder of dataset files, such as mnist.npz.
        device: Where to train.
        deterministic: On cuda, the same bytes each time, if slower; on the cpu it is always so.
        save_every: Seconds of training that a kill may cost.
    """

    data_dir: Path | None = None
    device: Device = "cpu"
    deterministic: bool = False
    save_every: Annotated[float, Parameter(validator=Number(gt=0))] = 30.0


@zoo.command
def build(
    recipe: str,
    /,
    *,
    output: Output,
    training: Training | None = None,
    json: bool = False,
) -> int:
    """Train the networks of a recipe and keep their snapshots in a folder.

    Killed and called again, it goes on where it was and ends with the same files.

    Args:
        recipe: A YAML file, or the name of a recipe that comes with the package (see `weightspace zoo list`).
        output: The population's folder; a new one, or that of a build to go on with.
        training: How it is done.
        json: Print one JSON object.
    """
    from weightspace.zoo.build import Site
    from weightspace.zoo.populate import populate
    from weightspace.zoo.recipe import load_recipe

    _check_folder(output, "recipe.yaml")
    known = load_recipe(recipe)
    how = training or Training()
    check_device(how.device)
    plain = asdict(how) | {"data_dir": str(how.data_dir) if how.data_dir else None}
    with _build_progress() as (update, last):
        population = populate(known, Site(output, **plain, progress=update))
    speed = {"networks_per_second": last[-1].networks_per_second if last else None}
    summary = {"population": str(output), "recipe": known.name, "runs": known.runs, "checkpoints": len(population)}
    return _print(summary | speed, built_sections, json)


@zoo.command
def info(population: str, /, *, json: bool = False) -> int:
    """Show what a population holds, from its manifest alone.

    Counts, architectures, columns, splits, quantiles of accuracy at the end of training, and the shares of networks
    that collapsed (within 2 points of chance) and that diverged.

    Args:
        population: A folder, or the name of a population that comes with the package.
        json: Print one JSON object.
    """
    from weightspace.zoo.store import find_population
    from weightspace.zoo.summary import summarise_population

    return _print(summarise_population(find_population(population)), population_sections, json)


@zoo.command
def evaluate(
    population: str,
    /,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    split: Literal["train", "validation", "test"] | None = None,
    device: Device = "cpu",
    json: bool = False,
) -> int:
    """Measure stored networks again, verify their hashes, and compare with the manifest.

    Args:
        population: A folder, or the name of a population that comes with the package.
        dataset: Test on this dataset instead of the one that each network was trained on.
        data_dir: Folder of dataset files, such as mnist.npz.
        split: Only networks of this split of the manifest.
        device: Where to run them.
        json: Print one JSON object.
    """
    from weightspace.zoo.evaluate import Choice, evaluate_population
    from weightspace.zoo.store import find_population

    choice = Choice(dataset, str(data_dir) if data_dir else None, split, device)
    check_device(device)
    with progress("network") as update:
        found = evaluate_population(find_population(population), choice, progress=update)
    for name, error in found.problems:
        complain_about(name, error)
    summary = {"population": population, **found.summarise()}
    return _print(summary, evaluation_sections, json) or (1 if found.problems else 0)


@zoo.command(name="import")
def import_(source: Path, /, *, output: Output, layout: str | None = None, json: bool = False) -> int:
    """Read a published zoo, or a folder of checkpoints with a CSV of properties, into a population.

    No file is executed. A file that cannot be read is named and left out. Killed and called again, it goes on.

    Args:
        source: What was downloaded and unpacked.
        output: The population's folder; a new one, or that of an import to go on with.
        layout: How the source is laid out, such as small_cnn_zoo; recognised by default.
        json: Print one JSON object.
    """
    from weightspace.zoo.readers import import_zoo, read_problems
    from weightspace.zoo.summary import summarise_population

    _check_folder(output, "import.json")
    with progress("checkpoint") as update:
        population = import_zoo(source, output, layout=layout, progress=update)
    problems = read_problems(output)
    for file, error in zip(problems["file"], problems["error"], strict=True):
        complain_about(str(file), str(error))
    return _print(summarise_population(population), population_sections, json) or (1 if len(problems) else 0)


@zoo.command
def export(population: str, /, *, output: Output, where: tuple[str, ...] = (), json: bool = False) -> int:
    """Write a population as plain files: a safetensors file a checkpoint, and a CSV of properties.

    Args:
        population: A folder, or the name of a population that comes with the package.
        output: A new folder.
        where: Only checkpoints of which this is true, such as 'test_accuracy>0.9' or 'split==test'; may be repeated.
        json: Print one JSON object.
    """
    from weightspace.zoo.export import export_population
    from weightspace.zoo.store import find_population

    found = find_population(population)
    conditions = [read_condition(text) for text in where]
    table = export_population(found, output, where=conditions)
    kept = len(found.frame(["id"], where=conditions))
    return _print({"population": population, "properties": str(table), "checkpoints": kept}, built_sections, json)


@zoo.command
def embed(
    population: str,
    /,
    *,
    output: Output,
    encoder: str = DEFAULT,
    where: tuple[str, ...] = (),
    force: bool = False,
    json: bool = False,
) -> int:
    """Write one latent a checkpoint into a Parquet table, beside the properties that the population records.

    Args:
        population: A folder, or the name of a population that comes with the package.
        output: The Parquet file to write.
        encoder: Name of an encoder that ships, or its folder.
        where: Only checkpoints of which this is true, such as 'test_accuracy>0.9' or 'split==test'; may be repeated.
        force: Overwrite an existing output.
        json: Print one JSON object.
    """
    from weightspace.encode.encoder import Encoder
    from weightspace.zoo.embed import embed_population
    from weightspace.zoo.store import find_population

    check_output(output, force=force)
    found = find_population(population)
    rows = found.frame(where=[read_condition(text) for text in where])
    with progress("checkpoint") as update:
        table = embed_population(Encoder.from_pretrained(encoder), found, rows, progress=update).table
    table.to_parquet(output, overwrite=force)
    failed = int((~table.fine).sum())
    for identity, error in zip(table["id"][~table.fine], table["error"][~table.fine], strict=True):
        complain_about(str(identity), str(error))
    summary = {"population": population, "table": str(output), "checkpoints": len(table), "encoder": table.encoder}
    return _print(summary, built_sections, json) or (1 if failed else 0)


def read_condition(text: str) -> tuple[str, str, Any]:
    """Return `(column, comparison, value)` of a condition; numbers, true and false are read as such.

    Raises:
        UsageError: It is none.

    Example:
        >>> read_condition("test_accuracy > 0.9"), read_condition("split==test")
        (('test_accuracy', '>', 0.9), ('split', '==', 'test'))
    """
    match = CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"--where {text!r} is no condition: write a column, one of == != < <= > >= and a value.")
    column, comparison, value = match.groups()
    try:
        read = jsonlib.loads(value)
    except ValueError:
        read = value
    return column, "==" if comparison == "=" else comparison, read if isinstance(read, int | float | bool) else value


def _print(found: Any, sections: Callable[[Any], Any], json: bool) -> int:
    if json:
        print(jsonlib.dumps(found, indent=1, allow_nan=False))
    else:
        show(sections(found))
    return 0


def _check_folder(folder: Path, mark: str) -> None:
    """Refuse a folder that holds something else than what was begun there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: name a folder.")
    if folder.is_dir() and not (folder / mark).exists() and any(folder.glob("[!.]*")):  # a killed one leaves drafts
        raise UsageError(f"{folder} holds other files (no {mark}): name a new folder.")


@contextmanager
def _build_progress() -> Iterator[tuple[Callable[[Progress], None], list[Progress]]]:
    """Give a function that shows how far a build is, on a terminal alone, and the last that it was told."""
    last: list[Progress] = []
    if not sys.stderr.isatty():
        yield lambda told: last.__setitem__(slice(None), [told]), last
        return
    from tqdm import tqdm

    bar_format = "{percentage:3.0f}%|{bar}| {n:.0f}/{total} networks{postfix}"
    with tqdm(bar_format=bar_format, leave=False) as bar:

        def update(told: Progress) -> None:
            last[:] = [told]
            bar.n, bar.total = told.done, told.total
            bar.set_postfix_str(
                f"{told.networks_per_second:.3g} networks/s, {bar.format_interval(told.seconds_left)} left"
            )

        yield update, last
