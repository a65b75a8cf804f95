"""Zoos that keep a file a checkpoint: read one by one, stacked by architecture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import RecipeError, WeightspaceError, ZooError
from weightspace.zoo.append import Part
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.layout import Layout as Shapes
from weightspace.zoo.readers.layout import Problem


@dataclass(frozen=True, eq=False)
class Network:
    """One file that was read.

    Args:
        checkpoint: Its weights.
        properties: What the file itself says, in the package's terms.
        architecture: What is known beside the shapes.
    """

    checkpoint: Checkpoint
    properties: Mapping[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] = field(default_factory=dict)


Row = Mapping[str, Any]


def read_files(rows: pd.DataFrame, load: Callable[[Row], Network]) -> Iterator[Part | Problem]:
    """Yield one part for each architecture and dtype among the files of `rows`, and a problem for each bad file.

    A network with a weight that is not finite is kept and marked `diverged`.
    """
    stacks: dict[str, list[tuple[int, Network]]] = {}
    for place, row in enumerate(rows.to_dict("records")):
        try:
            network = load({str(key): value for key, value in row.items()})
            stacks.setdefault(_kind(network), []).append((place, network))
        except (WeightspaceError, OSError) as error:
            yield Problem(str(row["_file"]), str(error))
    for kind, stack in stacks.items():
        yield _part(rows, [place for place, _ in stack], [network for _, network in stack], json.loads(kind)[0])


def _kind(network: Network) -> str:
    tensors = all_names(network.checkpoint)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    dtypes = {name: str(tensor.dtype) for name, tensor in tensors.items()}
    return json.dumps([{**network.architecture, "shapes": shapes}, dtypes], sort_keys=True)


def _part(rows: pd.DataFrame, places: list[int], networks: Sequence[Network], architecture: Mapping[str, Any]) -> Part:
    whole = [all_names(network.checkpoint) for network in networks]
    tensors = {name: torch.stack([each[name] for each in whole]) for name in architecture["shapes"]}
    known = rows.iloc[places]
    told = {key: [network.properties.get(key) for network in networks] for key in networks[0].properties}
    broken = pd.Series([bool(network.checkpoint.non_finite) for network in networks], index=known.index)
    diverged = broken | known["diverged"].astype(bool) if "diverged" in known else broken
    rows = known.assign(
        diverged=diverged, **{key: pd.Series(values, index=known.index) for key, values in told.items()}
    )
    return Part(rows, tensors, architecture)


def all_names(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Return the tensors by every name, so that tied weights stand under each of theirs."""
    return {**checkpoint.tensors, **{alias: checkpoint.tensors[name] for alias, name in checkpoint.shared.items()}}


def describe_family(
    family: str, options: Mapping[str, Any], inputs: Sequence[int], shapes: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Return what an architecture must say to be built again, or nothing where no such network has these `shapes`.

    Args:
        family: One of `zoo.families.FAMILIES`.
        options: Its choices.
        inputs: Shape of one input.
        shapes: Of the weights that were read; the last is the bias of the output layer.
    """
    outputs = int(list(shapes.values())[-1][0])
    try:
        module = build_network(family, Signature(tuple(inputs), outputs), options)
    except RecipeError:
        return {}
    if Shapes.of(module).shapes != {name: tuple(shape) for name, shape in shapes.items()}:
        return {}
    return {
        "family": family,
        "options": dict(options),
        "signature": {"inputs": list(inputs), "outputs": outputs},
    }


def as_number(value: Any) -> float:
    """Return a number as a float; not-a-number for anything else, and for what no float can hold."""
    try:
        return float(value) if isinstance(value, int | float) else float("nan")
    except OverflowError:
        return float("nan")


def read_json_file(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        ZooError: It cannot be read.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ZooError(f"{path}: cannot be read as JSON ({error}). Fetch it again.") from None
