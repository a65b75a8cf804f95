"""Answers that are alike, that are not, and by chance."""

import pytest
import torch

from weightspace.audit.agreement import compare_answers, disagreement, kappa


def drawn(models, inputs, classes, seed):
    return torch.randint(classes, (models, inputs), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def test_the_same_networks_agree_wholly_and_independent_ones_by_chance():
    labels, mine, theirs = drawn(1, 4000, 4, 0)[0], drawn(6, 4000, 4, 1), drawn(6, 4000, 4, 2)

    same, other = compare_answers(mine, mine, labels), compare_answers(theirs, mine, labels)

    assert same["agreement"] == same["kappa"] == same["disagreement_share"] == 1
    assert same["accuracy"] == same["accuracy_of_originals"] and same["correlation"] == pytest.approx(1)
    assert other["agreement"] == pytest.approx(0.25, abs=0.02) and abs(other["kappa"]) < 0.03


def test_kappa_by_hand():
    a, b = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    assert kappa(a, b) == pytest.approx((0.75 - 0.5) / 0.5)
    assert kappa(torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)) == 0


def test_networks_that_all_answer_alike_have_no_diversity_and_no_correlation():
    labels, mine = drawn(1, 50, 3, 0)[0], drawn(1, 50, 3, 1).expand(4, -1)

    found = compare_answers(mine, mine, labels)

    assert disagreement(mine) == 0
    assert found["disagreement_share"] != found["disagreement_share"] and found["correlation"] != found["correlation"]


def test_finished_networks_are_told_apart():
    labels = drawn(1, 400, 4, 0)[0]
    good, bad = labels.expand(3, -1), ((labels + 1) % 4).expand(3, -1)
    wanted = torch.cat([good, bad])
    decoded = torch.cat([good, good])

    found = compare_answers(decoded, wanted, labels)

    assert found["agreement"] == 0.5 and found["agreement_of_finished"] == found["equals_of_finished"] == 1
