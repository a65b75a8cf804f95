"""What one training of a decoder is, read from YAML; and the training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Generator

from weightspace.checkpoint.whole import replacing
from weightspace.decode.decoder import Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.encode.encoder import Encoder
from weightspace.errors import ConfigError
from weightspace.train.config import check_keys
from weightspace.train.decoder import DecoderTraining
from weightspace.train.decoder_data import Reading, read_encoded, signature_of
from weightspace.train.encoder import Place
from weightspace.train.loop import Report
from weightspace.zoo.store import find_population

SAVE_EVERY = 60.0
"""Seconds between states."""


@dataclass(frozen=True)
class DecoderTrainConfig:
    """One training of a decoder.

    Args:
        name: Of the decoder.
        populations: Folders, or names of populations that ship; all of one number of classes.
        encoder: Name or folder of the encoder whose latents are decoded.
        sizes: Of the network; `latent` is the encoder's.
        seed: Of everything random.
        steps: Updates.
        seconds: Within which they end, should they take longer; 0 for no such end.
        networks: Decoded in an update; fewer where they are large.
        images: They answer.
        learning_rate: At its highest.
        noise: On each number of a latent, in its deviations; more of it for fewer networks.
        inputs: That each network has answered beforehand.
        views: Networks between snapshots of a run to learn from beside each network.
    """

    name: str
    populations: tuple[str, ...]
    encoder: str
    sizes: DecoderConfig = field(default=DecoderConfig())
    seed: int = 0
    steps: int = 3000
    seconds: float = 0.0
    networks: int = 64
    images: int = 64
    learning_rate: float = 6e-4
    noise: float = 0.2
    inputs: int = 4096
    views: int = 2


def read_decoder_config(path: str | Path) -> DecoderTrainConfig:
    """Return the configuration in a YAML file.

    Raises:
        ConfigError: It cannot be read, or a key or value does not fit.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error}).") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds no mapping of keys to values.")
    return parse_decoder_config(content, source=str(path))


def parse_decoder_config(content: Mapping[str, Any], *, source: str = "config") -> DecoderTrainConfig:
    """Return the configuration that these keys and values make; `sizes` replace the defaults one by one.

    Raises:
        ConfigError: A key is not known or missing, or a value does not fit.
    """
    content = dict(content)
    given = content.pop("sizes", {})
    if not isinstance(given, dict):
        raise ConfigError(f"{source}: sizes: {given!r} is no mapping of sizes.")
    sizes: dict[str, Any] = asdict(DecoderConfig()) | check_keys(given, DecoderConfig, f"{source}: sizes")
    content = check_keys(content, DecoderTrainConfig, source)
    missing = {"name", "populations", "encoder"} - set(content)
    if missing:
        raise ConfigError(f"{source}: {sorted(missing)} are missing.")
    names = content["populations"]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ConfigError(f"{source}: populations: {names!r} is no list of folders or names.")
    low = [k for k in ("steps", "networks", "images", "inputs") if content.get(k, 1) < 1]
    low += [f"sizes: {name}" for name, value in sizes.items() if value < 1 and name != "numbers"]
    if low:
        raise ConfigError(f"{source}: {low[0]} must be at least 1.")
    return DecoderTrainConfig(**content | {"populations": tuple(names), "sizes": DecoderConfig(**sizes)})


def train_decoder(config: DecoderTrainConfig, place: Place, *, report: Report | None = None) -> Decoder:
    """Return the trained decoder; its parameters are an average over the last updates.

    A training that was stopped goes on from `place.state`, its time counted on.

    Raises:
        EncoderError: There is no such encoder.
        ZooError: A population is missing, or its classes are not those of the others.
        DataError: A dataset is missing.
    """
    torch.set_float32_matmul_precision("high")
    encoder = Encoder.from_pretrained(config.encoder)
    populations = [find_population(name) for name in config.populations]
    shapes, classes = signature_of(populations, place.data_dir)
    reading = Reading(place.data_dir, place.device, config.inputs, config.views, config.seed)
    groups = read_encoded(encoder, populations, reading)
    sizes = replace(config.sizes, latent=encoder.network.config.latent)
    network = DecoderNetwork(sizes, generator=Generator().manual_seed(config.seed)).to(place.device)
    rates = {"learning_rate": config.learning_rate, "noise": config.noise}
    training = DecoderTraining(network, groups, **rates, seed=config.seed)
    _run(config, training, place, report)
    return Decoder(config.name, training.average.cpu(), encoder.id, shapes, classes)


def _run(config: DecoderTrainConfig, training: DecoderTraining, place: Place, report: Report | None) -> None:
    """Make updates until they or the time are over."""
    spent = 0.0
    if place.state.exists():
        state = torch.load(place.state, weights_only=True, map_location=place.device)
        training.restore(state)
        spent = state["spent"]
    start = saved = time.monotonic()
    while (progress := _progress(config, training.step, spent + time.monotonic() - start)) < 1:
        loss = training.advance(progress, networks=config.networks, images=config.images)
        told = {} if training.step % 50 else {"loss": float(loss)}
        if report:
            report(training.step, config.steps, told)
        if time.monotonic() - saved > SAVE_EVERY:
            saved = time.monotonic()
            with replacing(place.state) as draft:
                torch.save(training.state | {"spent": spent + saved - start}, draft)


def _progress(config: DecoderTrainConfig, step: int, spent: float) -> float:
    return max(step / config.steps, spent / config.seconds if config.seconds else 0.0)
