"""Architectures by name: what a file, a population or a few words say a network is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from weightspace.checkpoint.load import read_header
from weightspace.errors import ArchitectureError, WeightspaceError
from weightspace.graph.trace.capture import capture_program
from weightspace.graph.trace.program import Program
from weightspace.zoo.allowed import ARCHITECTURE
from weightspace.zoo.families import FAMILIES, build_network
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.store import Population, find_population

EXAMPLE = "smallcnn:width=8,activation=relu,inputs=1x16x16,classes=10"


def architecture_of(text: str | Path, *, signature: Signature | None = None) -> Program:
    """Return the program of an architecture.

    Args:
        text: A family of the zoo with its options, `smallcnn:width=8,inputs=1x16x16,classes=10`; a population, and
            which of its architectures if it has several, `mlp_digits:07b94f559ab1`; or a checkpoint file that carries
            its program.
        signature: Inputs and classes where the options of a family don't name them.

    Raises:
        ArchitectureError: The text names nothing of these, an option is unknown or does not fit, or the file carries no
            program.

    Example:
        >>> program = architecture_of("mlp:width=3,depth=1,inputs=4,classes=2")
        >>> [slot.value.shape for slot in program.slots if slot.role == "parameter"]
        [(3, 4), (3,), (2, 3), (2,)]
    """
    name, _, rest = str(text).partition(":")
    if name in FAMILIES:
        return _family(str(text), name, rest, signature)
    if Path(text).is_file():
        return _file(Path(text))
    try:
        population = find_population(name)
    except WeightspaceError:
        raise ArchitectureError(
            f"{str(text)!r} is no architecture: name a checkpoint file, a population (NAME:ARCHITECTURE), or one of "
            f"{', '.join(FAMILIES)} with its options, such as {EXAMPLE}."
        ) from None
    return _population(population, rest)


def family_program(family: str, options: dict[str, Any], signature: Signature) -> Program:
    """Return the program of a family's network."""
    kind = torch.long if FAMILIES[family].data == "text" else torch.float32
    example = torch.zeros(2, *signature.inputs, dtype=kind)
    return capture_program(build_network(family, signature, options), (example,))


def _family(text: str, name: str, rest: str, signature: Signature | None) -> Program:
    try:
        options = yaml.safe_load("{" + rest.replace("=", ": ") + "}")
    except yaml.YAMLError:
        raise ArchitectureError(f"{text!r}: options are key=value, comma between, such as {EXAMPLE}.") from None
    given = {key: options.pop(key) for key in ("inputs", "classes") if key in options}
    known = [*FAMILIES[name].options, *FAMILIES[name].unsampled]
    for key, value in options.items():
        if key not in known or not ARCHITECTURE[key].allows(value):
            wanted = {option: str(ARCHITECTURE[option]) for option in known}
            raise ArchitectureError(f"{text!r}: {key}={value} does not fit; {name} takes {wanted}.")
    try:
        inputs = tuple(map(int, str(given["inputs"]).split("x"))) if "inputs" in given else None
        classes = int(given["classes"]) if "classes" in given else None
    except ValueError:
        raise ArchitectureError(f"{text!r}: inputs and classes are whole numbers, such as in {EXAMPLE}.") from None
    inputs = inputs or (signature.inputs if signature else None)
    classes = classes or (signature.outputs if signature else None)
    if inputs is None or classes is None or min(*inputs, classes) < 1:
        raise ArchitectureError(f"{text!r}: does not say inputs and classes, as in {EXAMPLE}.")
    try:
        return family_program(name, options, Signature(inputs, classes))
    except WeightspaceError as error:
        raise ArchitectureError(f"{text!r}: {error}") from error


def _file(path: Path) -> Program:
    stored = read_header(path).metadata.get("architecture")
    if not stored:
        raise ArchitectureError(
            f"{path}: its metadata holds no 'architecture'. Build the module, load the weights, and save it with "
            f"from_module(module, args).save(path), or name a family, such as {EXAMPLE}."
        )
    return Program.from_json(stored)


def _population(population: Population, rest: str) -> Program:
    names = list(population.architectures)
    if rest not in names and (rest or len(names) != 1):
        told = [f"{name} ({_told(population.architectures[name])})" for name in names[:12]]
        raise ArchitectureError(
            f"{population.folder.name}: has {len(names)} architectures and none is {rest!r}; name one after a colon: "
            f"{', '.join(told)}."
        )
    text = population.program(rest or names[0])
    if text is None:
        raise ArchitectureError(f"{population.folder.name}: does not say how its networks are built.")
    return Program.from_json(text)


def _told(known: dict[str, Any]) -> str:
    return " ".join([str(known.get("family", "")), *(f"{k}={v}" for k, v in known.get("options", {}).items())]).strip()
