"""Distributions are symmetric, sum to one, and the fitted one is near the entropy."""

import numpy as np
import pytest

from weightspace.decode.codec.masses import BOOSTS, SCALES, SHAPES, Masses, fit_masses


@pytest.mark.parametrize("scale", [0, 20, 50, SCALES - 1])
@pytest.mark.parametrize("shape", range(SHAPES))
@pytest.mark.parametrize("boost", [0, BOOSTS - 1])
def test_masses_sum_to_one_and_are_symmetric(scale, shape, boost):
    table = Masses(scale, shape, boost).table(31)

    assert table.sum() == pytest.approx(1)
    assert (table == table[::-1]).all()
    assert (table >= 0).all()


def test_a_normal_has_thinner_tails_than_a_double_exponential_of_its_scale():
    exponential, normal = Masses(24, 0, 4).table(63), Masses(24, SHAPES - 1, 4).table(63)

    assert normal[-1] < exponential[-1] / 1000


@pytest.mark.parametrize("spread", [0.2, 0.7, 3.0, 40.0])
@pytest.mark.parametrize("law", ["laplace", "normal"])
def test_the_fitted_masses_cost_little_more_than_the_entropy(spread, law):
    draw = getattr(np.random.default_rng(0), law)
    numbers = np.rint(draw(size=20_000) * spread).astype(np.int64)
    counts = np.bincount(np.abs(numbers))
    shares = np.unique(numbers, return_counts=True)[1] / len(numbers)

    _, bits = fit_masses(counts)

    assert bits / len(numbers) < -(shares @ np.log2(shares)) + 0.03
