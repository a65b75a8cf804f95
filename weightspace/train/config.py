"""What one training of an encoder is: sizes, data, steps; read from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from weightspace.encode.network import SweepConfig
from weightspace.errors import ConfigError
from weightspace.nn.energies import SCORES
from weightspace.nn.pictures import GROUPS

LEARNED = SweepConfig(
    width=32,
    pairs=16,
    waves=128,
    features=96,
    stage=96,
    latent=256,
    signals=32,
    depths=4,
    probes=96,
    hidden=384,
    fixed=48,
    answers=144,
    picture=24,
)
"""Sizes of a trained encoder: signals, stages in their order, probes, layers in the read-outs."""


@dataclass(frozen=True)
class TrainConfig:
    """One training of an encoder.

    Args:
        name: Of the encoder.
        populations: Folders, or names of populations that ship.
        sizes: Of the network.
        seed: Of everything random.
        steps: Updates.
        groups: Draws of networks of one architecture that make up one update.
        batch_size: Networks of a draw, at most; populations of the architecture have equal shares.
        learning_rate: At its highest.
        weight_decay: Of AdamW, on matrices.
        warmup: Updates until the learning rate is at its highest; a cosine brings it down to 0.
        unrun: Share of groups whose networks are not run, so that the encoder can do without.
        widened: Share of groups that are seen wider, twice or four times, their function kept; where that can be done.
        shuffled: Share of networks whose tensors have their entries shuffled; of those nothing is learned but that they
            are, and how they answer.
        damaged: Share of groups whose networks lack some hidden units; of those nothing is learned but how they answer,
            and how many of the inputs right.
        noise: Of each weight, at most this share of its tensor's root mean square; drawn for each network and view.
        moved: How far inputs that are places, as of implicit networks, are moved all alike: deviation of each number of
            the map.
        drop: Share of the vector's numbers that the read-outs of properties do without.
        behaviour: Weight of the loss of predicting the networks' answers to real inputs.
        views: Weight of the losses of telling two views of one network from other networks, and of predicting the
            statistics of the block that the second view lacks.
        paired: Share of groups of which there are two views; encoding them twice costs as much as all the rest.
        inputs: Real inputs of each dataset on which answers are predicted.
        start: A trained encoder to go on from, a name or a folder, whose sizes, names and scales hold; none if empty.
        only: The part of it that learns, as `encoder.rows` or `predictor`; all if empty.
    """

    name: str
    populations: tuple[str, ...]
    sizes: SweepConfig = field(default=LEARNED)
    seed: int = 0
    steps: int = 3000
    groups: int = 2
    batch_size: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 100
    unrun: float = 0.5
    widened: float = 0.3
    shuffled: float = 0.1
    damaged: float = 0.2
    noise: float = 0.1
    moved: float = 0.04
    drop: float = 0.2
    behaviour: float = 1.0
    views: float = 0.2
    paired: float = 0.25
    inputs: int = 256
    start: str = ""
    only: str = ""


def read_config(path: str | Path) -> TrainConfig:
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
    return parse_config(content, source=str(path))


def parse_config(content: Mapping[str, Any], *, source: str = "config") -> TrainConfig:
    """Return the configuration that these keys and values make; `sizes` replace those of `LEARNED` one by one.

    Raises:
        ConfigError: A key is not known or missing, or a value does not fit.
    """
    content = dict(content)
    given = content.pop("sizes", {})
    if not isinstance(given, dict):
        raise ConfigError(f"{source}: sizes: {given!r} is no mapping of sizes.")
    sizes = check_keys(given, SweepConfig, f"{source}: sizes")
    content = check_keys(content, TrainConfig, source)
    missing = {"name", "populations"} - set(content)
    if missing:
        raise ConfigError(f"{source}: {sorted(missing)} are missing.")
    names = content["populations"]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ConfigError(f"{source}: populations: {names!r} is no list of folders or names.")
    merged = {f.name: getattr(LEARNED, f.name) for f in fields(SweepConfig)} | sizes
    fixed, answers = merged["fixed"], merged["answers"]
    if 0 < fixed <= SCORES:
        raise ConfigError(f"{source}: sizes: fixed: {fixed} leaves nothing beside the {SCORES} numbers of energies.")
    if fixed + answers >= merged["latent"]:
        raise ConfigError(
            f"{source}: sizes: fixed: {fixed} and answers: {answers} leave nothing to learn of the weights "
            f"in a latent of {merged['latent']}."
        )
    if bool(merged["probes"]) != bool(answers):
        raise ConfigError(f"{source}: sizes: answers: {answers} numbers for {merged['probes']} probes; set both or 0.")
    if merged["picture"] % GROUPS:
        raise ConfigError(f"{source}: sizes: picture: {merged['picture']} is no multiple of {GROUPS}.")
    return TrainConfig(**content | {"populations": tuple(names), "sizes": SweepConfig(**merged)})


def check_keys(content: Mapping[str, Any], kind: type, source: str) -> dict[str, Any]:
    """Return keys and values as they are, whole numbers as fractions where such are wanted.

    Raises:
        ConfigError: A key is not a field of `kind`, or a value does not fit.
    """
    known = {f.name: f for f in fields(kind)}
    for key, value in content.items():
        if key not in known:
            raise ConfigError(f"{source}: key {key!r} is not known; there are {sorted(known)}.")
        wanted = known[key].type
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if wanted == "int" and not (isinstance(value, int) and number and value >= 0):
            raise ConfigError(f"{source}: {key}: {value!r} is no whole number, 0 or more.")
        if wanted == "float" and not (number and value >= 0):
            raise ConfigError(f"{source}: {key}: {value!r} is no number, 0 or more.")
    return {key: float(value) if known[key].type == "float" else value for key, value in content.items()}
