"""Grids come back exactly, whatever their rows are like."""

import numpy as np
import pytest

from weightspace.decode.codec.budget import fit, write
from weightspace.decode.codec.coder import SymbolReader
from weightspace.decode.codec.grid import Grid, grid_bits, nearest_step, read_sizes, round_to, step_of
from weightspace.errors import CodecError

SIZES = [(16, 144), (1, 10), (10, 16), (1, 1), (3, 0), (64, 1)]


def draw_grids(seed=0, spread=2.0):
    draw = np.random.default_rng(seed)
    return [Grid(np.rint(draw.laplace(size=s) * spread).astype(np.int64), 1600 - 100 * i) for i, s in enumerate(SIZES)]


@pytest.mark.parametrize("spread", [0.0, 0.3, 2.0, 100.0])
def test_grids_come_back_from_their_stream(spread):
    grids = draw_grids(spread=spread)

    found = read_sizes(SymbolReader(write(grids)), SIZES)

    for a, b in zip(grids, found, strict=True):
        assert (a.values == b.values).all()
        assert a.step == b.step or not a.values.any()


def test_a_grid_of_the_nearest_step_keeps_a_weight_within_half_a_step():
    matrix = np.random.default_rng(0).normal(size=(20, 30))

    grid = round_to(matrix, 0.1)

    assert grid.size == pytest.approx(0.1, rel=0.011)
    assert np.abs(grid.matrix - matrix).max() <= grid.size / 2 + 1e-12
    assert nearest_step(step_of(777)) == 777


def test_rows_of_unlike_size_are_written_apart():
    draw = np.random.default_rng(0)
    rows = np.where(np.arange(64) % 2, 0.3, 30)[:, None]
    values = np.rint(draw.laplace(size=(64, 100)) * rows).astype(np.int64)
    mixed = draw.permutation(values.ravel()).reshape(64, 100)

    assert grid_bits(values) < 0.9 * grid_bits(mixed)
    assert (read_sizes(SymbolReader(write([Grid(values, 9)])), [(64, 100)])[0].values == values).all()


@pytest.mark.parametrize("bits", [1.0, 3.0, 9.0])
def test_the_finest_grid_fits_and_a_finer_one_does_not(bits):
    matrix = np.random.default_rng(0).normal(size=(40, 50))
    budget = int(bits * matrix.size)

    data = fit(lambda d: [round_to(matrix, d)], budget)
    grid = read_sizes(SymbolReader(data), [matrix.shape])[0]

    assert 0.96 * budget < 8 * len(data) <= budget
    assert 8 * len(write([round_to(matrix, grid.size / 1.1)])) > budget


def test_a_budget_for_nothing_is_named():
    with pytest.raises(CodecError, match="ask for more bits"):
        fit(lambda d: [Grid(np.ones((9, 9), np.int64), 0)], 8)
