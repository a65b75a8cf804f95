"""The best network is chosen on inputs that are like those it is judged by."""

from __future__ import annotations

import torch

from weightspace.audit.accuracy import measure_accuracy
from weightspace.audit.answers import Answers, own_runs


def test_the_best_is_judged_by_all_classes_where_a_file_goes_through_them_in_turn():
    labels = (torch.arange(1000) % 10).to(torch.uint8)
    only_even = torch.where(labels % 2 == 0, labels, 0)  # half right, never on the inputs between
    mostly = torch.where(torch.arange(1000) % 10 < 8, labels, 0)

    found = measure_accuracy(Answers(torch.stack([only_even, mostly]), labels, own_runs("net", 2)))

    assert abs(found.mean - 0.65) < 1e-6 and abs(found.best - 0.8) < 0.05


def test_the_best_by_chance_is_judged_by_other_inputs():
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (200,), generator=draw).to(torch.uint8)
    chosen = torch.randint(10, (500, 200), generator=draw).to(torch.uint8)

    found = measure_accuracy(Answers(chosen, labels, own_runs("net", 500)))

    assert (chosen == labels).float().mean(1).max() > 0.15
    assert found.best < 0.15
