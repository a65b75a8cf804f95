from __future__ import annotations

import numpy as np
import torch
from torch import Generator as Random

from weightspace.audit.finetune import Curve, Plan, train_rates
from weightspace.zoo.data import load_dataset
from weightspace.zoo.families import build_network


def test_trained_starts_are_ahead_and_all_start_where_they_are():
    data = load_dataset("digits")
    module = build_network("mlp", data.signature, {"width": 16, "depth": 1})
    draw = Random().manual_seed(0)
    start = {n: 0.1 * torch.randn(3, *t.shape, generator=draw) for n, t in module.state_dict().items()}
    plan = Plan(steps=(0, 10, 60), batch_size=64, rates=(1e-3, 1e-2), test=200)
    curve = train_rates(module, start, data, plan)[0]
    assert curve.accuracy.shape == (3, 3)
    assert curve.mean[0] < 0.3 < 0.6 < curve.mean[2]
    again = train_rates(module, start, data, plan)[0]
    np.testing.assert_array_equal(curve.accuracy, again.accuracy)
    assert curve.rate == 1e-2
    best, other = train_rates(module, start, data, plan)
    np.testing.assert_array_equal(best.accuracy, curve.accuracy)
    assert other.rate == 1e-3 and best.steps_to(0.5) < other.steps_to(0.5)


def test_steps_are_read_off_between_measurements():
    curve = Curve((0, 10, 20), np.array([[0.2, 0.2], [0.4, 0.4], [0.8, 0.8]]), 0.1)
    assert curve.steps_to(0.1) == 0
    assert curve.steps_to(0.6) == 15
    assert curve.steps_to(0.9) == float("inf")
