"""A training that goes on from a trained encoder: all of it learns, or one part and nothing else."""

from dataclasses import replace

import pytest
import torch

from tests.train.conftest import SMALL
from weightspace.encode.encoder import Encoder
from weightspace.errors import ConfigError, EncoderError
from weightspace.train.config import TrainConfig
from weightspace.train.encoder import Place, start_training, train_encoder
from weightspace.train.finish import finish
from weightspace.train.loop import EncoderTraining
from weightspace.zoo.store import Population


@pytest.fixture(scope="module")
def trained(tmp_path_factory, population):
    folder = tmp_path_factory.mktemp("trained")
    config = TrainConfig("small", (str(population.folder),), sizes=SMALL, steps=4, groups=1, batch_size=12, inputs=6)
    encoder = train_encoder(config, Place(folder / "training.pt"))
    encoder.save(folder / "encoder")
    return folder / "encoder"


def parts(encoder):
    found = {f"encoder.{name}": tensor for name, tensor in encoder.network.state_dict().items()}
    return found | {f"predictor.{name}": tensor for name, tensor in encoder.predictor.state_dict().items()}


def changed(before, after, names):
    return {name for name in names if not before[name].equal(after[name])}


def go_on(config, population, trained, tmp_path, **how):
    wanted = replace(config, start=str(trained), name="other", **how)
    training = start_training(wanted, [Population(population.folder)], Place(tmp_path / "state.pt"), device="cpu")
    training.run()
    return training


def test_all_of_it_learns_and_its_sizes_and_names_hold(config, population, trained, tmp_path):
    before = Encoder.from_pretrained(str(trained))
    sizes = replace(config.sizes, width=4)
    found = finish(go_on(config, population, trained, tmp_path, sizes=sizes))
    assert found.network.config == before.network.config and found.predictor.classes == before.predictor.classes
    learned = {f"encoder.{name}" for name, _ in before.network.named_parameters()}
    left = learned - changed(parts(before), parts(found), learned)
    other = "encoder.rows", "encoder.pictures", "encoder.probes.row"
    assert all(name.startswith(other) for name in left)  # all inputs are images


@pytest.mark.parametrize("only", ["encoder.images", "predictor.heads"])
def test_one_part_learns_and_nothing_else(config, population, trained, tmp_path, only):
    before = parts(Encoder.from_pretrained(str(trained)))
    training = go_on(config, population, trained, tmp_path, only=only)
    after = {name: tensor for name, tensor in training.objective.state_dict().items() if name in before}
    assert after.keys() == before.keys()
    found = changed(before, after, before)
    assert found and all(name.startswith(only) for name in found)


def test_networks_that_the_part_says_nothing_of_teach_nothing(config, population, trained, tmp_path):
    """Rows of numbers are asked of no network here; updates without gradients change nothing and end nothing."""
    before = parts(Encoder.from_pretrained(str(trained)))
    how = {"only": "encoder.rows", "behaviour": 0.0, "views": 0.0, "weight_decay": 0.0}
    training = go_on(config, population, trained, tmp_path, **how)
    after = training.objective.state_dict()
    assert training.step == config.steps and not changed(before, after, before)


def test_what_does_not_exist_is_named(config, population, trained, tmp_path):
    with pytest.raises(ConfigError, match=r"only: 'encoder.picture_s' is no part .*'encoder.pictures'"):
        go_on(config, population, trained, tmp_path, only="encoder.picture_s")
    with pytest.raises(ConfigError, match="start: random-sweep has learned nothing"):
        go_on(config, population, "random-sweep", tmp_path)
    with pytest.raises(EncoderError, match="there is no encoder 'nowhere'"):
        go_on(config, population, "nowhere", tmp_path)


def test_without_a_start_it_begins_anew(config, corpus, monkeypatch):
    calls = []
    monkeypatch.setattr("weightspace.train.loop.start_answers", lambda *_: calls.append(1))
    EncoderTraining(replace(config, steps=1), corpus).run()
    assert calls and torch.isfinite(EncoderTraining(config, corpus).shares).all()
