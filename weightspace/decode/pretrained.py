"""Trained decoders as folders: `config.json`, `decoder.safetensors` in half precision, and a card."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Generator

from weightspace.checkpoint.shipped import find_folder
from weightspace.checkpoint.whole import replacing
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.errors import DecoderError

CONFIG, WEIGHTS = "config.json", "decoder.safetensors"


@dataclass(frozen=True, eq=False)
class DecoderFiles:
    """What the folder of a decoder holds; see `decode.decoder.Decoder`."""

    name: str
    network: DecoderNetwork
    encoder: str
    shapes: tuple[tuple[int, ...], ...]
    classes: int


def find_decoder(name: str) -> Path | None:
    """Return the folder of a decoder: a path, or the name of one that ships; None where there is neither."""
    return find_folder("decoders", name, CONFIG)


def save_decoder(folder: Path, decoder: DecoderFiles) -> Path:
    """Write a decoder to a folder, each file whole or not at all; return the folder.

    Raises:
        DecoderError: The folder holds a decoder already, or cannot be written.
    """
    if (folder / CONFIG).exists():
        raise DecoderError(f"{folder}: holds a decoder already; choose another folder or remove it.")
    config = {
        "name": decoder.name,
        "encoder": decoder.encoder,
        "shapes": decoder.shapes,
        "classes": decoder.classes,
        "sizes": asdict(decoder.network.config),
    }
    halved = {key for key, _ in decoder.network.named_parameters()}
    tensors = {key: t.detach().cpu().contiguous() for key, t in decoder.network.state_dict().items()}
    tensors = {key: t.half() if key in halved else t for key, t in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / WEIGHTS) as draft:
            save_file(tensors, draft)
        with replacing(folder / CONFIG) as draft:
            draft.write_text(json.dumps(config, indent=1) + "\n")
    except (OSError, SafetensorError) as error:
        raise DecoderError(f"{folder}: cannot be written ({error}). Choose another folder.") from error
    return folder


def load_decoder(folder: Path) -> DecoderFiles:
    """Return what the folder of a decoder holds.

    Raises:
        DecoderError: A file is missing, damaged, or of another version.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        tensors = load_file(folder / WEIGHTS)
        sizes = DecoderConfig(**{f.name: int(config["sizes"][f.name]) for f in fields(DecoderConfig)})
        if max(asdict(sizes).values()) > 2**14 or min(asdict(sizes).values()) < 0:
            raise ValueError(f"sizes {asdict(sizes)}")
        network = DecoderNetwork(sizes, generator=Generator().manual_seed(0))
        network.load_state_dict(tensors)
        lost = [name for name, t in tensors.items() if not t.isfinite().all()]
        if lost:
            raise ValueError(f"{lost[:3]} are not finite")
        shapes = tuple(tuple(int(n) for n in shape) for shape in config["shapes"])
        if not shapes or not all(shapes):
            raise ValueError("shapes are missing")
        return DecoderFiles(str(config["name"]), network, str(config["encoder"]), shapes, int(config["classes"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DecoderError(
            f"{folder}: is no decoder of this version of weightspace ({reason}). Train one again, or get it anew."
        ) from error
