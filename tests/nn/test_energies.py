"""How unevenly energy is spread over rows and columns."""

import pytest
import torch
from torch import Generator

from weightspace.nn import statistics
from weightspace.nn.energies import SCORES, evenness, row_column_excess
from weightspace.nn.statistics import EXCESSES, RELATIVE, tensor_statistics


def excess(weight):
    """Of `(models, outs, ins, taps)`."""
    squares = weight.square()
    sums = squares.sum((2, 3)), squares.sum((1, 3)), squares.square().sum((1, 2, 3))
    return row_column_excess(*sums, weight[0].numel())


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def test_shuffled_numbers_show_a_deviation_of_about_one_around_zero():
    skewed = drawn(1, 40, 30, 9).exp()
    orders = [torch.randperm(skewed.numel(), generator=Generator().manual_seed(i)) for i in range(300)]
    found = excess(torch.cat([skewed.flatten()[order].view(skewed.shape) for order in orders]))
    assert found.mean(0).abs().max() < 0.2 and (found.std(0) - 1).abs().max() < 0.25


def test_unequal_rows_show_on_their_side_alone():
    weight = drawn(1, 64, 64, 1)
    weight = weight * torch.linspace(0.5, 1.5, 64)[None, :, None, None]
    rows, columns = excess(weight)[0]
    assert rows > 20 and columns.abs() < 4
    torch.testing.assert_close(excess(weight.transpose(1, 2))[0], torch.stack([columns, rows]))


def test_rows_made_equal_fall_below_chance():
    weight = drawn(1, 64, 64, 1)
    assert excess(weight / weight.norm(dim=2, keepdim=True))[0, 0] < -5


@pytest.mark.parametrize("weight", [torch.zeros(1, 4, 4, 1), torch.ones(1, 4, 4, 1), drawn(1, 6, 1, 1)])
def test_what_cannot_be_uneven_is_even(weight):
    assert excess(weight).abs().max() == 0


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("taps", [1, 9])
def test_streamed_tensors_show_what_whole_ones_do(monkeypatch, transposed, taps):
    weight = drawn(1, 24, 16, taps).float() * torch.linspace(0.5, 2, 16)[:, None]
    if transposed:
        weight = weight.transpose(1, 2).contiguous().transpose(1, 2)
    whole, _ = tensor_statistics(weight, torch.float32)
    monkeypatch.setattr("weightspace.nn.tiles.TILE", 64)
    streamed, _ = tensor_statistics(weight, torch.float32)
    assert statistics.is_streamed(weight) and whole[0, -1] > 0.5
    torch.testing.assert_close(streamed[:, -EXCESSES:], whole[:, -EXCESSES:], rtol=1e-4, atol=1e-4)


def test_they_know_the_size_so_they_are_not_among_what_stays_when_units_are_doubled():
    weight = drawn(1, 16, 64, 1) * torch.linspace(0.5, 1.5, 16)[None, :, None, None]
    once, twice = (tensor_statistics(w, torch.float64)[0] for w in (weight, weight.repeat(1, 2, 1, 1)))
    torch.testing.assert_close(once[:, 3:8], twice[:, 3:8])
    assert RELATIVE <= once.shape[1] - EXCESSES and twice[0, -EXCESSES] > once[0, -EXCESSES] + 0.1


@pytest.mark.parametrize("tile", [10**6, 40])
def test_groups_have_rows_and_columns_of_their_own(monkeypatch, tile):
    """Four groups of six rows and five columns, which are stored as 24 rows of five."""
    monkeypatch.setattr("weightspace.nn.tiles.TILE", tile)
    weight = drawn(1, 24, 5, 3) * torch.linspace(0.5, 2, 5, dtype=torch.float64)[:, None]
    split = ("out", torch.arange(24).view(4, 6))
    found, _ = tensor_statistics(weight, torch.float64, split)
    orders = [torch.randperm(5, generator=Generator().manual_seed(i)) for i in range(4)]
    turned = torch.cat([part[:, :, order] for part, order in zip(weight.split(6, 1), orders, strict=True)], 1)
    again, _ = tensor_statistics(turned, torch.float64, split)
    torch.testing.assert_close(again[:, -EXCESSES:], found[:, -EXCESSES:])
    plain, _ = tensor_statistics(weight, torch.float64)
    other, _ = tensor_statistics(turned, torch.float64)
    assert found[0, -1] > 0.5 and (other - plain)[0, -1].abs() > 0.1  # columns of all groups together would not stay


def test_scores_of_shuffled_tensors_are_about_one_and_small_excesses_of_many_add_up():
    even, uneven = drawn(400, 100, 2), drawn(400, 100, 2, seed=1) + 1
    scores, found = ((2 * evenness(z)).sinh() for z in (even, uneven))
    assert scores.shape == (400, SCORES)
    assert scores.mean(0).abs().max() < 0.2 and (scores.std(0) - 1).abs().max() < 0.2
    assert found[:, 0].mean() > 9 and (uneven.std((0, 1)) - 1).abs().max() < 0.05


def test_scores_tell_which_half_is_uneven_and_do_not_count_what_no_excess_is_known_of():
    z = torch.zeros(1, 8, 2, dtype=torch.float64)
    z[:, :2], z[:, 6:] = 0.1, 3.0
    _, first, last = evenness(z).split(6, 1)
    assert last[0, 0] > 10 * first[0, 0]
    known = torch.cat([z[:, :2], z[:, 6:]], 1)
    torch.testing.assert_close(evenness(known), evenness(z))
    alone = evenness(z[:, :1]).split(6, 1)
    assert all(part.equal(alone[0]) for part in alone)
