"""The encoder that ships, on runs of the population that ships which it never learned from."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import layer_norm

from weightspace.encode import DEFAULT
from weightspace.encode.encoder import Encoder
from weightspace.encode.network import LEARNED_SHARE
from weightspace.execute.module import from_module
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.nn.pictures import picture_places
from weightspace.zoo.embed import embed_population
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.families.siren import Siren
from weightspace.zoo.store import find_population

FOLDER = Path(str(files("weightspace.model_zoo"))) / "encoders" / DEFAULT


@pytest.fixture(scope="module")
def encoder():
    return Encoder.from_pretrained()


@pytest.fixture(scope="module")
def held_out():
    population = find_population("mlp_digits")
    rows = population.frame(where=[("split", "==", "test")])
    return population, rows[~rows["diverged"]]


@pytest.fixture(scope="module")
def told(encoder, held_out):
    population, rows = held_out
    table = embed_population(encoder, population, rows).table
    return encoder.predictor.predict(torch.tensor(table.vectors))


def test_it_is_small_and_has_a_card(encoder):
    assert encoder.id.startswith(f"{DEFAULT}-") and encoder.predictor is not None
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 20e6
    card = (FOLDER / "README.md").read_text()
    assert encoder.id in card and "-m benchmarks.encoder.train" in card


def test_it_ranks_networks_that_it_has_not_seen(held_out, told):
    truth = held_out[1]["test_accuracy"].to_numpy(float)
    values = np.array([float(t.values["test_accuracy"]) for t in told])
    assert 1 - ((truth - values) ** 2).mean() / truth.var() > 0.9
    shuffled = np.random.default_rng(0).permutation(values)
    assert 1 - ((truth - shuffled) ** 2).mean() / truth.var() < 0


def test_intervals_hold_most_of_the_truth(held_out, told):
    truth = held_out[1]["test_accuracy"].tolist()
    inside = [
        t.intervals["test_accuracy"][0] <= y <= t.intervals["test_accuracy"][1]
        for t, y in zip(told, truth, strict=True)
    ]
    assert np.mean(inside) > 0.8


def test_names_are_told(held_out, told):
    for name in ("activation", "dataset"):
        assert np.mean([t.values[name] == y for t, y in zip(told, held_out[1][name].astype(str), strict=True)]) > 0.95


def test_a_relabelled_network_is_the_same_one(encoder, held_out):
    population, rows = held_out
    checkpoint = population.checkpoint(rows["id"].iloc[0])
    graph = encoder.architectures.of(checkpoint).graph
    moved = relabel(checkpoint, graph, random_permutations(graph, generator=torch.Generator().manual_seed(3)))
    here, there, other = (
        encoder.encode(c).vector for c in (checkpoint, moved, population.checkpoint(rows["id"].iloc[1]))
    )
    assert (here - there).norm() < 1e-4 * here.norm() < (here - other).norm()


def test_a_network_that_takes_places_in_a_plane_is_asked_for_its_picture(encoder):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Siren(Signature((2,), 1), width=8, depth=1).eval()
    vector = encoder.encode(from_module(module, (torch.zeros(3, 2),))).vector
    network = encoder.network
    with torch.no_grad():
        asked = picture_places(network.probes.side).float()
        shown, turned = (network.pictures(module(x)[None])[0] for x in (asked, asked.flip(1)))
    answers = vector[-network.config.answers :] / LEARNED_SHARE
    torch.testing.assert_close(answers, layer_norm(shown, shown.shape), rtol=1e-3, atol=1e-3)
    assert (answers - layer_norm(turned, turned.shape)).abs().max() > 0.1
