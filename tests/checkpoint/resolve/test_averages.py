"""Moving averages: twins are found by name and shape, and only twins."""

import pytest
import torch

from weightspace.checkpoint.load import load_checkpoint

OWN = {"blocks.0.weight": torch.ones(2, 3), "blocks.0.bias": torch.ones(2)}
AVERAGE = {name: tensor / 2 for name, tensor in OWN.items()}

TWINS = {
    "ema.": {f"ema.{name}": t for name, t in AVERAGE.items()},
    "model_ema without dots": {f"model_ema.{name.replace('.', '')}": t for name, t in AVERAGE.items()},
    "_ema at the end": {f"{name}_ema": t for name, t in AVERAGE.items()},
    "inside": {f"blocks.ema.{name.removeprefix('blocks.')}": t for name, t in AVERAGE.items()},
}


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS.keys())
def test_twins_are_left_out_and_named(twins):
    found = load_checkpoint({**OWN, **twins})
    assert set(found.tensors) == set(OWN) and set(found.left_out) == set(twins)
    assert "moving average of 'blocks.0.weight'" in found.left_out.values()


def test_the_shells_of_ema_pytorch_are_seen_through():
    online = {f"online_model.{name}": t for name, t in OWN.items()}
    average = {f"ema_model.{name}": t for name, t in AVERAGE.items()}
    assert set(load_checkpoint({**online, **average}).tensors) == set(online)


def test_counters_go_with_their_average():
    found = load_checkpoint({**OWN, **TWINS["ema."], "ema.num_updates": torch.tensor(7)})
    assert found.left_out["ema.num_updates"] == "counter of a moving average"


def test_what_is_no_twin_stays():
    others = {"ema.blocks.0.weight": torch.ones(5), "ema.codebook": torch.ones(4), "cinema.weight": torch.ones(3)}
    assert set(load_checkpoint({**OWN, **others}).tensors) == set(OWN) | set(others)
