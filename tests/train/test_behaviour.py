"""Answers to real inputs are those of the networks that are learned from, and networks as they are run once."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from weightspace.encode.answers import run_networks
from weightspace.train import behaviour
from weightspace.train.behaviour import RealAnswers
from weightspace.train.loop import EncoderTraining
from weightspace.train.shown import Batch

PLACES = torch.tensor([4, 0, 7, 2, 9, 5])


@pytest.fixture
def runs(monkeypatch):
    """How many networks were run on real inputs, call by call."""
    counted = []

    def run(module, weights, inputs):
        counted.append(len(next(iter(weights.values()))))
        return run_networks(module, weights, inputs)

    monkeypatch.setattr(behaviour, "run_networks", run)
    return counted


def test_networks_as_they_are_answer_what_they_answer_and_are_run_once(corpus, runs):
    group = corpus.groups["train"][0]
    real = RealAnswers(corpus.inputs, corpus.labels)
    told = [real.of_group(group, PLACES) for _ in range(2)]
    with torch.no_grad():
        wanted = run_networks(group.module, group.pick(PLACES), corpus.inputs[group.dataset])
    for each in told:
        torch.testing.assert_close(each.float(), wanted, rtol=1e-3, atol=1e-3)
    assert runs == [len(group)]
    assert not torch.allclose(told[0].float(), wanted.roll(1, 0), atol=1e-2)


@pytest.mark.parametrize(("share", "damaged", "anew"), [(0.0, False, 0), (0.5, False, 3), (0.5, True, 6)])
def test_networks_are_run_anew_as_far_as_they_are_changed(share, damaged, anew, config, corpus, runs):
    group, config = corpus.groups["train"][0], replace(config, shuffled=share)
    objective = EncoderTraining(config, corpus).objective.eval()
    objective.show.real.of_group(group, PLACES)
    runs.clear()
    seen = objective.show(Batch([(group, PLACES)], False, False, damaged=damaged), Generator().manual_seed(0))
    assert runs == [anew] * bool(anew), "and none where none is changed"
    with torch.no_grad():
        wanted = run_networks(group.module, seen.plain, corpus.inputs[group.dataset])
        before = run_networks(group.module, group.pick(PLACES), corpus.inputs[group.dataset])
    torch.testing.assert_close(seen.answers[0], wanted, rtol=1e-3, atol=1e-3)
    changed = int(((wanted - before).abs().amax((1, 2)) > 1e-3).sum())
    assert anew / 2 <= changed <= anew  # a damaged one may have lost nothing


def test_large_answers_are_learned_from_like_small_ones(config, corpus):
    group, config = corpus.groups["train"][0], replace(config, shuffled=0.0)
    objective = EncoderTraining(config, corpus).objective.eval()
    losses = []
    for factor in (1.0, 1000.0):
        told = objective.show.real.of_group(group, torch.arange(len(group))).half() * factor
        objective.show.real._known[group] = told
        batch = Batch([(group, PLACES)], False, False)
        losses.append(objective(batch, Generator().manual_seed(0))["behaviour"].item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_networks_that_take_other_inputs_have_no_answers(corpus):
    group = corpus.groups["train"][0]
    real = RealAnswers({group.dataset: torch.zeros(3, 5)}, {})
    assert real.of_group(group, PLACES) is None and real.of_weights(group, group.pick(PLACES)) is None
    assert real.accuracy(group, None) is None


def test_networks_that_take_other_inputs_leave_those_of_their_dataset_their_answers(config, corpus):
    group = corpus.groups["train"][0]
    others = replace(corpus, groups=dict(corpus.groups) | {"train": [group, replace(group, shape=None)]})
    objective = EncoderTraining(config, others).objective
    batch = Batch([(g, PLACES) for g in others.groups["train"]], False, False)
    assert "behaviour" in objective(batch, Generator().manual_seed(0))
    alone = objective(Batch([(others.groups["train"][1], PLACES)], False, False), Generator().manual_seed(0))
    assert "behaviour" not in alone
