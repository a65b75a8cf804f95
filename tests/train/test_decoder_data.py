"""What a decoder learns from are the latents of the encoder, and what the networks themselves answer."""

import dataclasses

import pandas as pd
import pytest
import torch
from torch import Generator

from tests.train.conftest import SMALL
from weightspace.encode.encoder import Encoder
from weightspace.encode.network import SweepNetwork
from weightspace.errors import ZooError
from weightspace.execute.run import run_checkpoints
from weightspace.train.decoder_data import (
    OTHERS,
    Reading,
    draw_inputs,
    make_view,
    read_encoded,
    read_stacks,
    signature_of,
)
from weightspace.zoo.data import Dataset, load_dataset
from weightspace.zoo.stacks import encode_stack
from weightspace.zoo.store import find_population


@pytest.fixture(scope="module")
def encoder():
    return Encoder("drawn", SweepNetwork(SMALL, generator=Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def stack(population):
    return next(iter(read_stacks(population, "train", "cpu")))


def test_vectors_are_those_of_the_checkpoints(population, encoder, stack):
    found = encode_stack(encoder, stack)
    for place in (0, 3):
        one = population.checkpoint(str(stack.rows["id"].iloc[place]))
        torch.testing.assert_close(found[place], encoder.encode(one).vector, rtol=1e-3, atol=1e-4)
    assert not found[0].allclose(found[1], atol=1e-2)


def test_networks_are_read_with_their_answers_and_views_beside_them(population, encoder, stack):
    groups = read_encoded(encoder, [population], Reading(inputs=20, views=1))
    first = groups[0]
    assert len(groups) == 2 and len(first) == 2 * len(stack.rows)
    one = population.checkpoint(str(stack.rows["id"].iloc[2]))
    single = dataclasses.replace(one, tensors={name: t.float() for name, t in one.tensors.items()})
    expected = run_checkpoints([single], first.inputs)[0]
    torch.testing.assert_close(first.answers[2].float(), expected, rtol=1e-2, atol=1e-2)
    assert first.inputs.shape == (20, 1, 8, 8) and first.menu.signature.outputs == 10


def test_a_view_lies_between_snapshots_of_its_run(stack):
    view = make_view(stack, Generator().manual_seed(0))
    name = max(stack.weights, key=lambda n: stack.weights[n][0].numel())
    before, after = stack.weights[name].flatten(1), view.weights[name].flatten(1)
    runs = torch.from_numpy(stack.rows["run"].to_numpy().copy())
    for place in range(len(runs)):
        own = before[runs == runs[place]]
        others = before[runs != runs[place]]
        span = own - own.mean(0)
        rest = after[place] - own.mean(0)
        beside = rest - torch.linalg.lstsq(span.T, rest[:, None]).solution[:, 0] @ span
        assert beside.norm() < 0.2 * (after[place] - others).norm(dim=1).min()
    assert not after.allclose(before)


def test_a_network_of_a_lone_snapshot_has_views_too(stack):
    alone = dataclasses.replace(stack, rows=stack.rows.assign(run=range(len(stack.rows))))
    view = make_view(alone, Generator().manual_seed(0))
    for name, tensor in view.weights.items():
        torch.testing.assert_close(tensor, stack.weights[name], rtol=0.5, atol=0.5)


def test_a_quarter_of_the_inputs_is_of_other_datasets_in_the_right_size():
    images = torch.zeros(400, 1, 20, 20)
    labels = torch.arange(400) % 10
    data, other = load_dataset("digits"), Dataset("ones", images + 7, labels, images + 7, labels, 10)
    pool = draw_inputs(data, [other], 80, Generator().manual_seed(0))
    foreign = (pool > 6).flatten(1).all(1)
    assert pool.shape == (80, 1, 8, 8) and foreign.sum() == OTHERS * 80
    assert not (draw_inputs(data, [], 80, Generator().manual_seed(0)) > 6).any()


def test_one_number_of_classes_is_asked_for(population, monkeypatch):
    assert signature_of([population, find_population("mlp_digits")], None) == (((1, 8, 8),), 10)
    several = pd.DataFrame({"dataset": ["digits", "iris"]})
    monkeypatch.setattr(type(population), "frame", lambda self, columns: several)
    with pytest.raises(ZooError, match="learned from 2 datasets"):
        signature_of([population], None)
    frames = iter([several[:1], several[1:]])
    monkeypatch.setattr(type(population), "frame", lambda self, columns: next(frames))
    with pytest.raises(ZooError, match=r"tell \[3, 10\] classes apart"):
        signature_of([population, population], None)
