"""Generators as folders: `config.json`, `generator.safetensors`, and a card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from weightspace.checkpoint.shipped import find_folder, shipped_names
from weightspace.checkpoint.whole import replacing
from weightspace.errors import GeneratorError
from weightspace.generate.codes import Code
from weightspace.generate.coordinates import Coordinates
from weightspace.generate.fitting import Rows
from weightspace.generate.priors import PRIORS

if TYPE_CHECKING:
    from weightspace.generate.generator import Generator

CONFIG, WEIGHTS = "config.json", "generator.safetensors"


def find_generator(name: str) -> Path:
    """Return the folder of a generator: a path, or the name of one that ships.

    Raises:
        GeneratorError: There is neither.
    """
    folder = find_folder("generators", name, CONFIG)
    if folder is not None:
        return folder
    known = shipped_names("generators", CONFIG)
    others = f", or {', '.join(known)}" if known else ""
    raise GeneratorError(f"there is no generator {name!r}: pass a folder that holds one{others}.")


def save_generator(folder: Path, generator: Generator) -> Path:
    """Write a generator to a folder, each file whole or not at all; return the folder.

    Raises:
        GeneratorError: The folder holds a generator already, or cannot be written.
    """
    if (folder / CONFIG).exists():
        raise GeneratorError(f"{folder}: holds a generator already; choose another folder or remove it.")
    rows = generator.rows
    names, which = np.unique(rows.architectures.astype(str), return_inverse=True)
    config = {
        "name": generator.name,
        "prior": generator.kind,
        "encoder": rows.encoder,
        "codes": [asdict(code) for code in generator.codes],
        "architectures": names.tolist(),
        "programs": dict(generator.programs),
        "ids": rows.ids.tolist(),
    }
    arrays = {f"coordinates.{key}": value for key, value in generator.coordinates.state().items()}
    arrays |= {"rows.vectors": rows.vectors, "rows.codes": rows.codes, "rows.runs": rows.runs.astype(np.int64)}
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in arrays.items()}
    tensors |= {"rows.architectures": torch.from_numpy(which.astype(np.int64))}
    tensors |= {f"prior.{key}": value.detach().cpu().clone() for key, value in generator.prior.state().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / WEIGHTS) as draft:
            save_file(tensors, draft)
        with replacing(folder / CONFIG) as draft:
            draft.write_text(json.dumps(config) + "\n")
    except (OSError, SafetensorError) as error:
        raise GeneratorError(f"{folder}: cannot be written ({error}). Choose another folder.") from error
    return folder


def load_generator(folder: Path) -> dict[str, Any]:
    """Return what `Generator` takes from the folder of one.

    Raises:
        GeneratorError: A file is missing, damaged, or of another version.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        tensors = load_file(folder / WEIGHTS)
        arrays = {key: value.numpy() for key, value in tensors.items()}
        codes = tuple(Code(**{**code, "names": tuple(code["names"])}) for code in config["codes"])
        architectures = np.array(config["architectures"], object)[arrays["rows.architectures"]]
        ids = np.array(config["ids"], object)
        rows = Rows(
            ids, arrays["rows.runs"], arrays["rows.vectors"], arrays["rows.codes"], architectures, config["encoder"]
        )
        _check(rows, codes, arrays)
        return {
            "name": str(config["name"]),
            "prior": PRIORS[config["prior"]].from_state(_under(tensors, "prior.")),
            "coordinates": Coordinates(**_under(arrays, "coordinates.")),
            "codes": codes,
            "rows": rows,
            "programs": {str(key): str(text) for key, text in config["programs"].items()},
        }
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GeneratorError(
            f"{folder}: is no generator of this version of weightspace ({reason}). Fit one again, or get it anew."
        ) from error


def _under(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def _check(rows: Rows, codes: Sequence[Code], arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse numbers that are not finite and parts that do not belong together."""
    lost = [name for name, value in arrays.items() if not np.isfinite(value).all()]
    if lost:
        raise ValueError(f"{lost[:3]} are not finite")
    lengths = {len(x) for x in (rows.ids, rows.runs, rows.vectors, rows.codes, rows.architectures)}
    if len(lengths) != 1 or rows.codes.shape[1] != sum(code.columns for code in codes):
        raise ValueError("rows and codes do not belong together")
