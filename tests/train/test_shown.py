"""Networks as they are shown: all that is drawn, apart from all that is learned."""

from itertools import product

import pytest
import torch
from torch import Generator
from torch.nn.utils import parameters_to_vector

from weightspace.nn import answers
from weightspace.train.data import load_corpus
from weightspace.train.loop import EncoderTraining
from weightspace.train.masked import Asked
from weightspace.train.recorded import take_gradients
from weightspace.train.shown import Batch, Shown, put_back, spread_out


def test_tensors_are_spread_out_and_put_back():
    one, two, three = torch.zeros(1), torch.ones(2), torch.arange(3)
    shown = Shown({"a": one}, {"a": two}, [None, three], None, [one], {}, ({"b": one}, Asked(three, two, one)))
    assert [len(t) for t in spread_out(shown)] == [1, 2, 3, 1, 1, 3, 2, 1]
    again = put_back(shown, (t + 1 for t in spread_out(shown)))
    assert isinstance(again, Shown) and isinstance(again.other[1], Asked)
    assert again.moves[0] is again.kept is None and again.noisy["a"].equal(two + 1)
    assert again.other[1].stage.equal(three + 1)


@pytest.mark.parametrize(("run", "paired", "factor"), list(product((True, False), (True, False), (1, 2))))
def test_losses_hang_on_what_is_shown_and_on_parameters_alone(run, paired, factor, config, corpus):
    objective, group = EncoderTraining(config, corpus).objective.eval(), corpus.groups["train"][0]
    batch = Batch([(group, torch.arange(5))], run, paired, factor)
    shown = objective.show(batch, Generator().manual_seed(0))
    assert not any(tensor.requires_grad for tensor in spread_out(shown))
    losses = objective.losses(batch, shown)
    again = objective.losses(batch, put_back(shown, (t.clone() for t in spread_out(shown))))
    drawn = objective(batch, Generator().manual_seed(0))
    other = objective(batch, Generator().manual_seed(1))
    assert all(loss.equal(again[name]) and loss.equal(drawn[name]) for name, loss in losses.items())
    assert not losses["test_accuracy"].equal(other["test_accuracy"])


def test_recorded_updates_are_those_that_are_computed_anew(config, population, device, monkeypatch):
    monkeypatch.setattr(answers, "DROPPED", 0.0)  # what is dropped is drawn elsewhere where updates are recorded
    corpus = load_corpus([population], inputs=6, device=device)
    plain, recorded = (EncoderTraining(config, corpus, device=device) for _ in range(2))
    monkeypatch.setattr(plain.recorded, "gradients", lambda _, loss, told: take_gradients(loss, told, plain.parameters))
    start = parameters_to_vector(plain.objective.parameters())
    for training in (plain, recorded):
        for _ in range(4):
            training.advance()
    ends = [parameters_to_vector(training.objective.parameters()) for training in (plain, recorded)]
    assert 0 < (ends[0] - start).norm() and (ends[1] - ends[0]).norm() < 0.05 * (ends[0] - start).norm()
    torch.testing.assert_close(*ends, rtol=1e-2, atol=1e-3)
