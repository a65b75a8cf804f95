"""Measures of what networks answer: laws, and numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.audit.made_up import make_answers
from weightspace.audit.answers import Answers, join_answers, own_runs
from weightspace.audit.coverage import measure_coverage
from weightspace.audit.diversity import disagreements, measure_diversity
from weightspace.audit.fidelity import measure_fidelity
from weightspace.audit.joint import QUANTILES, SHARES, bootstrap_mean, measure_joint
from weightspace.audit.novelty import measure_novelty
from weightspace.audit.overlap import error_overlaps, expected_at, largest_overlaps
from weightspace.errors import AuditError


def answers(rows, runs=None):
    chosen = torch.tensor(rows, dtype=torch.uint8)
    labels = torch.zeros(chosen.shape[1], dtype=torch.uint8)
    return Answers(chosen, labels, own_runs("n", len(rows)) if runs is None else np.array(runs, object))


def test_overlap_is_intersection_over_union_of_errors():
    a, b = answers([[1, 1, 0, 0], [0, 0, 0, 0]]), answers([[0, 2, 2, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(error_overlaps(a, b), [[1 / 3, 0], [0, 1]])


def test_a_network_of_the_same_run_does_not_count():
    a, b = answers([[1, 1, 0, 0]], ["r1"]), answers([[1, 1, 0, 0], [1, 0, 0, 0]], ["r1", "r2"])
    assert largest_overlaps(a, b).tolist() == [0.5]
    assert largest_overlaps(answers([[1, 1, 0, 0]], ["r3"]), b).tolist() == [1.0]


def test_expected_is_what_networks_of_the_same_accuracy_have():
    known, values = np.linspace(0, 1, 101), np.linspace(0, 10, 101)
    np.testing.assert_allclose(expected_at(np.array([0.5, 0.2]), known, values), [5.0, 2.0], atol=0.1)


def test_a_copy_is_not_new_and_a_fresh_training_is():
    train, fresh, other = (make_answers(40, accuracy=0.8, seed=s) for s in (0, 1, 2))
    copies = measure_novelty(Answers(train.chosen, train.labels, own_runs("copy", 40)), train, fresh)
    assert copies.share.max() == 0
    assert abs(measure_novelty(other, train, fresh).share.mean() - 1) < 0.02


def test_a_decoded_copy_counts_as_one_only_beside_reconstructions():
    """A decoder that answers half of all inputs anew makes copies look new, unless its own work is held beside."""
    train, fresh, noise = (make_answers(40, accuracy=0.8, seed=s) for s in (0, 1, 3))
    half = torch.arange(train.chosen.shape[1]) % 2 == 0
    decoded = Answers(torch.where(half, train.chosen, noise.chosen), train.labels, own_runs("decoded", 40))
    rebuilt = Answers(decoded.chosen, decoded.labels, train.runs)
    assert measure_novelty(decoded, train, fresh).share.mean() > 0.5
    assert measure_novelty(decoded, join_answers([train, rebuilt]), fresh).share.max() == 0


def test_the_joint_score_counts_networks_above_both_thresholds():
    zoo, runs = np.linspace(0, 1, 101), own_runs("n", 2)
    best = measure_joint(np.array([1.0, 1.0]), np.array([1.0, 1.0]), zoo, runs)
    assert (best.area, best.low, best.high) == (1, 1, 1)
    assert measure_joint(np.array([1.0, 1.0]), np.array([0.0, 0.0]), zoo, runs).area == 0
    assert measure_joint(np.array([0.1, 0.1]), np.array([2.0, 2.0]), zoo, runs).area == 0
    some = measure_joint(np.array([0.65, 0.65]), np.array([0.6, 0.6]), zoo, runs).area
    assert some == pytest.approx(2 / len(QUANTILES) * 2 / len(SHARES))


def test_networks_of_one_run_are_drawn_together():
    values = np.repeat([0.0, 1.0], 50)
    apart = bootstrap_mean(values, own_runs("n", 100))
    together = bootstrap_mean(values, np.repeat(["a", "b"], 50).astype(object))
    assert together == (0.0, 1.0)
    assert 0.3 < apart[0] < apart[1] < 0.7


def test_a_sample_of_one_network_over_and_over_is_not_diverse():
    fresh, other = make_answers(30, accuracy=0.7, seed=0), make_answers(30, accuracy=0.7, seed=1)
    same = Answers(other.chosen[:1].expand(30, -1).clone(), other.labels, own_runs("same", 30))
    collapsed, varied = (measure_diversity(part, fresh) for part in (same, other))
    assert (collapsed.overlap, collapsed.disagreement) == (1.0, 0.0)
    assert varied.overlap == pytest.approx(varied.fresh_overlap, abs=0.02)
    assert varied.disagreement == pytest.approx(varied.fresh_disagreement, abs=0.02)


def test_disagreement_by_hand():
    assert disagreements(answers([[1, 2, 0, 0]]), answers([[1, 3, 0, 4]])).tolist() == [[0.5]]


def test_training_networks_cover_and_one_network_does_not():
    levels = [make_answers(20, accuracy=a, seed=s) for s, a in enumerate((0.3, 0.5, 0.7, 0.9, 0.3, 0.5, 0.7, 0.9))]
    train, fresh = join_answers(levels[:4]), join_answers(levels[4:])
    whole = measure_coverage(train, fresh, train)
    assert 0.85 <= whole <= 0.95
    assert measure_coverage(train.take([0] * 80), fresh, train) < whole


def test_fidelity_of_one_wish_has_a_gap_and_no_rank():
    told = measure_fidelity(np.array([0.5, 0.5]), np.array([0.4, 0.7]))
    assert np.isnan(told.spearman) and told.gap == pytest.approx(0.15)
    assert measure_fidelity(np.arange(5), np.arange(5)[::-1]).spearman == pytest.approx(-1)


def test_answers_to_other_inputs_are_refused():
    with pytest.raises(AuditError, match="ask all networks the same"):
        join_answers([make_answers(2, accuracy=0.5, seed=0), make_answers(2, accuracy=0.5, seed=0, inputs=300)])
    with pytest.raises(AuditError, match="one network at least"):
        make_answers(2, accuracy=0.5, seed=0).take([])
