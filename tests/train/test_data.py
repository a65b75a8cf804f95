from dataclasses import replace

import numpy as np
import pytest
import torch

from weightspace.encode.properties import find_classes, read_targets
from weightspace.errors import ZooError
from weightspace.train.data import load_corpus
from weightspace.train.loop import EncoderTraining
from weightspace.zoo.build import Site
from weightspace.zoo.populate import populate
from weightspace.zoo.recipe import parse_recipe


def test_no_run_is_in_two_parts_and_none_is_lost(corpus, population):
    runs = {part: {run for g in groups for run in g.rows["run"]} for part, groups in corpus.groups.items()}
    assert not runs["train"] & runs["validation"] and not (runs["train"] | runs["validation"]) & runs["test"]
    assert set().union(*runs.values()) == set(population.frame()["run"])


def test_weights_and_targets_are_those_of_the_rows(corpus, population):
    for group in corpus.groups["test"]:
        for place in (0, len(group) - 1):
            row = group.rows.iloc[place]
            for name, tensor in population.checkpoint(row["id"]).tensors.items():
                assert group.weights[name][place].equal(tensor)
            assert float(group.targets["test_accuracy"][place]) == pytest.approx(row["test_accuracy"])
            assert float(group.targets["learning_rate"][place]) == pytest.approx(
                np.log10(row["learning_rate"]), rel=1e-5
            )
            names = corpus.classes["activation"]
            assert names[int(group.targets["activation"][place])] == row["activation"]


def test_numbers_are_scaled_by_the_training_part_alone(corpus):
    values = torch.cat([group.targets["test_accuracy"] for group in corpus.groups["train"]]).double()
    mean, spread = corpus.scales()["test_accuracy"]
    assert mean == pytest.approx(float(values.mean())) and spread == pytest.approx(float(values.std(unbiased=False)))
    name = corpus.groups["train"][0].population
    assert corpus.spreads()[name]["test_accuracy"] == pytest.approx(spread)


def test_a_property_that_does_not_vary_or_is_not_recorded_is_left_out(population):
    frame = population.frame()
    classes = find_classes([frame])
    assert set(classes) == {"activation", "trained"}  # one dataset, one optimizer, no label
    assert set(read_targets(frame, classes)) >= {"test_accuracy", "epoch", "activation", "trained"}
    unknown = read_targets(frame.assign(activation="new").drop(columns="epoch"), classes)
    assert np.isnan(unknown["activation"]).all() and "epoch" not in unknown


def test_divergent_networks_are_left_out(population, monkeypatch):
    frame = population.frame()
    monkeypatch.setattr(type(population), "frame", lambda self: frame.assign(diverged=True))
    with pytest.raises(ZooError, match="holds networks to train on"):
        load_corpus([population])


def test_policies_join_a_corpus_and_are_asked_about_states_of_their_task(config, population, tmp_path):
    recipe = {"name": "poles", "family": "policy", "runs": 12, "snapshots": [0], "sample": {"dataset": "cartpole"}}
    recipe["sample"] |= {"width": 8, "activation": {"choice": ["tanh", "relu"]}, "optimizer": "adam"}
    recipe["sample"] |= {"learning_rate": {"log_uniform": [3.0e-4, 2.0e-2]}}
    poles = populate(parse_recipe(recipe), Site(tmp_path / "poles"))
    corpus = load_corpus([population, poles], inputs=6)
    states = corpus.inputs["cartpole"]
    assert states.shape == (6, 4) and states.equal(load_corpus([poles], inputs=6).inputs["cartpole"])
    assert (states.abs() <= torch.tensor([2.4, 2.0, 0.21, 2.0])).all() and states.unique(dim=0).shape == states.shape
    training = EncoderTraining(replace(config, steps=1), corpus)
    group = next(g for g in corpus.groups["train"] if g.dataset == "cartpole")
    assert training.objective.show.real.shown(group).equal(states)
    losses = training.advance()
    assert losses and all(np.isfinite(loss) for loss in losses.values())
