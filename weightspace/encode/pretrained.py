"""Trained encoders as folders: `config.json`, `encoder.safetensors`, and a card."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Generator, nn

from weightspace.checkpoint.shipped import find_folder
from weightspace.checkpoint.whole import replacing
from weightspace.encode.network import SweepConfig, SweepNetwork
from weightspace.encode.predictor import Predictor
from weightspace.errors import EncoderError

CONFIG, WEIGHTS = "config.json", "encoder.safetensors"


def find_encoder(name: str) -> Path | None:
    """Return the folder of an encoder: a path, or the name of one that ships; None where there is neither."""
    return find_folder("encoders", name, CONFIG)


def save_encoder(folder: Path, name: str, network: SweepNetwork, predictor: Predictor | None) -> None:
    """Write an encoder to a folder; each file whole or not at all.

    Raises:
        EncoderError: The folder holds an encoder already.
    """
    if (folder / CONFIG).exists():
        raise EncoderError(f"{folder}: holds an encoder already; choose another folder or remove it.")
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {"name": name, "sizes": asdict(network.config)}
    if predictor is not None:
        config |= {"classes": predictor.classes, "scales": predictor.scales, "shares": predictor.shares}
    tensors = {key: t.detach().cpu().contiguous() for key, t in _parts(network, predictor).state_dict().items()}
    with replacing(folder / WEIGHTS) as draft:
        save_file(tensors, draft)
    with replacing(folder / CONFIG) as draft:
        draft.write_text(json.dumps(config, indent=1) + "\n")


def load_encoder(folder: Path) -> tuple[str, SweepNetwork, Predictor | None]:
    """Return name, network and predictor of an encoder's folder.

    Raises:
        EncoderError: A file is missing, damaged, or of another version.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        tensors = load_file(folder / WEIGHTS)
        sizes = SweepConfig(**{f.name: int(config["sizes"][f.name]) for f in fields(SweepConfig)})
        network = SweepNetwork(sizes, generator=Generator().manual_seed(0))
        predictor = None
        if "classes" in config:
            scales = {name: tuple(pair) for name, pair in config["scales"].items()}
            predictor = Predictor(sizes, config["classes"], scales, generator=Generator().manual_seed(0))
            predictor.shares = {name: float(share) for name, share in config.get("shares", {}).items()}
        _parts(network, predictor).load_state_dict(tensors)
        return str(config["name"]), network, predictor
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncoderError(
            f"{folder}: is no encoder of this version of weightspace ({reason}). Train one again, or get it anew."
        ) from error


def _parts(network: SweepNetwork, predictor: Predictor | None) -> nn.ModuleDict:
    parts: dict[str, nn.Module] = {"network": network}
    return nn.ModuleDict(parts if predictor is None else parts | {"predictor": predictor})
