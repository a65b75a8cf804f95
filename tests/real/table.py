"""All rebuilt networks, and the real checkpoints that are there to be rebuilt."""

import json
from pathlib import Path

from torch import Tensor

from tests.conftest import SHARED
from tests.real.networks import detectors, faceapi, images, keywords, language, policies, resnets, speech
from tests.real.rebuilt import Rebuilt, Weights
from weightspace.checkpoint.checkpoint import Checkpoint

FAMILIES = (resnets, images, detectors, faceapi, speech, keywords, policies, language)
NETWORKS: tuple[Rebuilt, ...] = tuple(network for family in FAMILIES for network in family.NETWORKS)

_SHARED, _SHIPPED = SHARED / "checkpoints", Path(__file__).resolve().parents[2] / "model_zoo"
ALL_SHARED = (_SHARED / "manifest.json").exists()
FOLDER = _SHARED if ALL_SHARED else _SHIPPED
ENTRIES = json.loads((FOLDER / ("manifest.json" if ALL_SHARED else "sources.json")).read_text())["checkpoints"]
PATHS = {entry["id"]: FOLDER / entry["file"] for entry in ENTRIES}
GROUPS = {entry["id"]: entry["group"] for entry in ENTRIES}


def network_of(name: str) -> Rebuilt | None:
    """The rebuilt network of the checkpoint with this id, if there is one."""
    return next((network for network in NETWORKS if network.fits(name)), None)


def weights_of(checkpoint: Checkpoint) -> Weights:
    """The float tensors in float64, so that rounding does not hide a difference; tied ones under each name."""
    found = {name: tensor.double() for name, tensor in checkpoint.tensors.items() if tensor.is_floating_point()}
    return {**found, **{alias: found[name] for alias, name in checkpoint.shared.items()}}


def outputs(network: Rebuilt, weights: Weights, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    found = network.forward(weights, *inputs)
    return found if isinstance(found, tuple) else (found,)
