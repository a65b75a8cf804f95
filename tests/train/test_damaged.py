"""Networks that lack units, and what is asked of them."""

import torch

from weightspace.encode.answers import run_networks
from weightspace.train.loop import EncoderTraining
from weightspace.train.shown import Batch, stacked
from weightspace.train.views import with_damage


def damaged(group, models=6, seed=0):
    parts = [(group, torch.arange(models))]
    plain = stacked(parts)
    return parts, plain, with_damage(group.gates, plain, torch.Generator().manual_seed(seed))


def test_some_units_lead_nowhere_and_all_other_weights_stay(corpus):
    group = corpus.groups["train"][0]
    _, plain, found = damaged(group)
    last = found["layers.1.weight"]
    gone = (last == 0).all(1)
    assert 0 < gone.sum() < 0.5 * gone.numel()
    assert last.equal(plain["layers.1.weight"] * ~gone[:, None])
    assert all(found[name].equal(tensor) for name, tensor in plain.items() if name != "layers.1.weight")


def test_damaged_networks_are_asked_for_the_accuracy_that_they_have_left(config, corpus):
    objective, group = EncoderTraining(config, corpus).objective.eval(), corpus.groups["train"][0]
    parts, plain, found = damaged(group)
    wanted = objective.show.measured(parts, [objective.show.real.of_weights(group, found)])
    inputs, labels = corpus.inputs[group.dataset], corpus.labels[group.dataset]
    with torch.no_grad():
        right = run_networks(group.module, found, inputs).argmax(2) == labels
    assert wanted["test_accuracy"].equal(right.float().mean(1))
    assert all(not truth.isfinite().any() for name, truth in wanted.items() if name != "test_accuracy")
    assert not wanted["test_accuracy"].equal(
        objective.show.measured(parts, [objective.show.real.of_weights(group, plain)])["test_accuracy"]
    )


def test_without_damage_there_are_more_losses_and_two_views(config, corpus):
    objective, group = EncoderTraining(config, corpus).objective, corpus.groups["train"][0]
    parts = [(group, torch.arange(6))]
    whole, less = (
        objective(Batch(parts, True, True, damaged=lacking), torch.Generator().manual_seed(0))
        for lacking in (False, True)
    )
    assert {"views", "masked"} == set(whole) - set(less)
    assert less["epoch"] == 0 and less["test_accuracy"] > 0 and whole["epoch"] > 0
