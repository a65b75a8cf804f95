"""Waves of what stages say: a change in one of many stages shows, rounding does not."""

import torch
from torch import Generator

from weightspace.nn.readout import Fingerprint


def fingerprint(whole):
    return Fingerprint(8, 64, whole=whole, generator=Generator().manual_seed(0)).double()


def said(stages):
    return torch.randn(1, stages, 8, generator=Generator().manual_seed(1), dtype=torch.float64)


def moved(waves, stages):
    """How far waves move when one stage of many says something else, (those of each stage, those of the whole)."""
    x = said(stages)
    other = x.clone()
    other[:, stages // 2] = said(1)[:, 0]
    apart = (waves(other) - waves(x))[0].square()
    return tuple(float(part.mean().sqrt()) for part in apart.split([48, 16]))


def test_waves_of_the_whole_turn_as_far_where_one_stage_of_many_changes():
    waves = fingerprint(16)
    few, many = moved(waves, 4), moved(waves, 400)
    assert many[0] < few[0] / 5
    assert few[1] > 0.3 and many[1] > 0.3


def test_rounding_stays_rounding():
    waves, x = fingerprint(16), said(50)
    apart = waves(x * (1 + 1e-9 * torch.randn(x.shape, generator=Generator().manual_seed(2)).double())) - waves(x)
    assert 0 < apart.abs().max() < 1e-5


def test_they_are_the_slower_waves_and_then_those_of_the_whole():
    x = said(9)
    plain, both = fingerprint(0)(x), fingerprint(16)(x)
    torch.testing.assert_close(both[:, :48], plain[:, :48])
    assert both.shape == plain.shape and (both[:, 48:] - plain[:, 48:]).abs().max() > 0.1
    assert both[:, 48:].abs().max() <= 1


def test_the_order_of_stages_does_not_count():
    x, waves = said(9), fingerprint(16)
    torch.testing.assert_close(waves(x.flip(1)), waves(x))
