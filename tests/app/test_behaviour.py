"""Answers: accuracy as the population records it, confusion, agreement."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Generator

from tests.execute.meeting import Meeting
from weightspace.app.behaviour import MOST, Questions, answer, ask_of, describe_answers
from weightspace.app.network import Network
from weightspace.errors import ExplorerError, WeightspaceError
from weightspace.zoo.data import load_dataset
from weightspace.zoo.store import find_population


@pytest.fixture(scope="module")
def population():
    return find_population("mlp_digits")


@pytest.mark.parametrize("place", [0, 1, 401, 767])
def test_accuracy_is_that_of_the_manifest(population, place):
    row = population.frame().iloc[place]
    asked = ask_of("digits")
    network = Network(population.checkpoint(row["id"]))
    told = describe_answers(network.logits(asked), asked, network.logits(asked))
    assert told["accuracy"] == pytest.approx(row["test_accuracy"], abs=1e-6)
    assert told["agreement"] == 1 and told["inputs"] == told["of"] == 359
    table = np.array(told["confusion"])
    assert table.trace() / table.sum() == pytest.approx(told["accuracy"])
    np.testing.assert_array_equal(table.sum(1), np.bincount(asked.y, minlength=10))


def test_networks_on_shifted_data_are_asked_shifted_questions():
    population = find_population("lineage")
    row = population.frame(where=[("shift", "==", "negative")]).iloc[0]
    network = Network(population.checkpoint(row["id"]))
    shifted = ask_of("digits", "negative")
    right = describe_answers(network.logits(shifted), shifted)
    assert right["accuracy"] == pytest.approx(row["test_accuracy"], abs=1e-6)
    plain = describe_answers(network.logits(ask_of("digits")), ask_of("digits"))
    assert plain["accuracy"] < right["accuracy"] - 0.2


def test_numbers_worked_by_hand():
    asked = Questions("toy", torch.zeros(4, 2), torch.tensor([0, 1, 1, 2]), 3, torch.zeros(0, 2), 4)
    logits = torch.tensor([[2.0, 0, 0], [0, 0, 2.0], [0, 0, 2.0], [0, 0, 2.0]])
    told = describe_answers(logits, asked, torch.tensor([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0], [0, 0, 2.0]]))
    assert told["accuracy"] == 0.5 and told["agreement"] == 0.75
    assert told["confusion"] == [[1, 0, 0], [0, 0, 2], [0, 0, 1]] and told["confused"] == [(1, 2, 2)]
    assert asked.chosen == [0, 1, 3, 2], "the first of each class, then the second"
    assert [one["said"] for one in told["answers"]] == [0, 2, 2, 2]
    assert told["answers"][0]["sure"] == pytest.approx(np.e**2 / (np.e**2 + 2))


def test_pictures_are_the_inputs_whose_answers_are_shown():
    import base64

    asked, told = ask_of("digits"), ask_of("digits").pictures()
    pixels = np.frombuffer(base64.b64decode(told["pixels"]), np.uint8).reshape(-1, 8, 8)
    np.testing.assert_allclose(pixels / 127.5 - 1, asked.x[asked.chosen, 0].numpy(), atol=1 / 127)
    assert told["truth"] == asked.y[asked.chosen].tolist() and told["truth"][:10] != told["truth"][10:]
    assert sorted(told["truth"][:10]) == list(range(10))


def test_many_inputs_are_the_same_thousand_each_time(tmp_path):
    g = np.random.default_rng(0)
    arrays = {"x": g.normal(size=(6000, 3)), "y": np.arange(6000) % 4, "is_test": np.arange(6000) % 3 == 0}
    np.savez(tmp_path / "many.npz", **arrays)
    asked = ask_of("many", "none", str(tmp_path))
    assert (len(asked.y), asked.of) == (MOST, 2000)
    whole = load_dataset("many", str(tmp_path))
    assert {tuple(x) for x in asked.x.tolist()} < {tuple(x) for x in whole.x_test.tolist()}


def test_questions_that_do_not_fit_are_named(population):
    network = Network(population.checkpoint("mlp_digits/000000/2"))
    with pytest.raises(ExplorerError, match=r"inputs of iris are \(4,\) in 3 classes; the network takes \(1, 8, 8\)"):
        network.logits(ask_of("iris"))
    with pytest.raises(ExplorerError, match="no one label"):
        ask_of("sums")
    with pytest.raises(ExplorerError, match="lies on a hub, and the explorer asks nobody"):
        ask_of("hub:org/name")
    with pytest.raises(WeightspaceError, match="there is no file"):
        ask_of("mnist", "none", "nowhere")


def test_other_weights_give_other_answers(population):
    network, asked = Network(population.checkpoint("mlp_digits/000000/2")), ask_of("digits")
    turned = {name: t.flip(0) for name, t in network.checkpoint.tensors.items()}
    agreement = describe_answers(answer(network.module, turned, asked), asked, network.logits(asked))["agreement"]
    assert agreement < 0.5


def test_requests_at_the_same_time_are_told_of_their_own_networks():
    generator, module = Generator().manual_seed(0), Meeting(5, 3).eval()
    x = torch.randn(4, 5, generator=generator)
    networks = [{n: torch.randn(p.shape, generator=generator) for n, p in module.named_parameters()} for _ in range(2)]
    asked = Questions("five numbers", x, torch.zeros(4, dtype=torch.int64), 3, x, 4)
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda tensors: answer(module, tensors, asked), networks))
    for found, tensors in zip(told, networks, strict=True):
        torch.testing.assert_close(found, x @ tensors["weight"].T + tensors["bias"])
