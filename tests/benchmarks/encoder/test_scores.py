"""Scores against scipy and against numbers worked by hand."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmarks.encoder import scores


@pytest.fixture
def tied():
    random = np.random.default_rng(0)
    return random.integers(0, 6, 80) / 5, random.normal(size=80)


def test_tau_is_scipys(tied):
    assert scores.tau(*tied) == pytest.approx(kendalltau(*tied, variant="b").statistic, abs=1e-15)


def test_tau_of_a_constant_is_zero():
    assert scores.tau(np.array([0.1, 0.2, 0.3]), np.ones(3)) == 0


@pytest.mark.parametrize(
    ("target", "ceiling"),
    [
        ([1, 2, 3, 4], 1.0),
        ([0, 0, 1], (2 / 3) ** 0.5),  # 3 pairs, 1 tied
        ([0, 0, 1, 1], (4 / 6) ** 0.5),  # 6 pairs, 2 tied
        ([5, 5, 5], 0.0),
    ],
)
def test_the_ceiling_by_hand(target, ceiling):
    assert scores.tau_ceiling(np.array(target)) == pytest.approx(ceiling, abs=1e-15)


def test_no_ranking_without_ties_exceeds_the_ceiling_and_the_best_reaches_it(tied):
    target, noise = tied
    best = target + 1e-6 * noise

    assert scores.tau(target, best) == pytest.approx(scores.tau_ceiling(target), abs=1e-12)
    assert scores.tau(target, noise) < scores.tau_ceiling(target) < 1


def test_tau_within_forgets_what_separates_strata():
    strata = np.array([0, 0, 0, 1, 1, 1])
    target = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    knows_strata_alone = np.array([0.3, 0.2, 0.1, 0.9, 0.8, 0.7])

    found = scores.tau_within(target, knows_strata_alone, strata)

    assert scores.tau(target, knows_strata_alone) == pytest.approx(3 / 15)  # 9 pairs right, 6 wrong
    assert found == {"tau": -1.0, "ceiling": 1.0, "pairs": 6.0}


def test_tau_within_weighs_strata_by_their_pairs():
    strata = np.array([0, 0, 0, 1, 1, 2])
    target = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 9.0])
    told = np.array([1.0, 2.0, 3.0, 2.0, 1.0, 0.0])

    found = scores.tau_within(target, told, strata)

    assert found["pairs"] == 4  # 3 right in the first, 1 wrong in the second, none in the third
    assert found["tau"] == pytest.approx((3 * 1 - 1 * 1) / 4)


def test_strata_of_ties_alone_have_no_tau():
    found = scores.tau_within(np.zeros(4), np.arange(4.0), np.array([0, 0, 1, 1]))
    assert found["pairs"] == 0 and np.isnan(found["tau"])


def test_r2_and_accuracy_by_hand():
    assert scores.r2(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0])) == pytest.approx(1 - 1 / 2)
    assert scores.accuracy(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]])) == 0.5


def test_the_bootstrap_draws_whole_runs():
    runs = np.array([7, 3, 7, 3, 5, 5])
    drawn = scores.bootstrap(lambda rows: len(rows), runs, times=20)
    seen = []
    scores.bootstrap(lambda rows: seen.append(np.bincount(runs[rows], minlength=8)) or 0.0, runs, times=50)

    assert set(drawn) == {6.0}
    assert all((counts % 2 == 0).all() for counts in seen), "a run came without one of its snapshots"
    assert len({tuple(counts) for counts in seen}) > 5


def test_the_interval_is_wider_where_snapshots_of_a_run_are_alike():
    random = np.random.default_rng(1)
    target = np.repeat(random.normal(size=20), 10)
    told = target + np.repeat(random.normal(size=20), 10)
    width = {}
    for name, runs in (("runs", np.repeat(np.arange(20), 10)), ("rows", np.arange(200))):
        drawn = scores.bootstrap(lambda rows: scores.tau(target[rows], told[rows]), runs, times=200)
        low, high = scores.interval(drawn)
        width[name] = high - low
    assert width["runs"] > 2 * width["rows"]
