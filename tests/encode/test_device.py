"""Another precision, and too little memory: the same latent, or a named error."""

from __future__ import annotations

from importlib.resources import files

import pytest
import torch
from torch import Generator

from tests.encode.networks import GRAPHS, perceptron, weights
from tests.encode.test_shared import apart
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode.encoder import Encoder
from weightspace.encode.network import SweepNetwork
from weightspace.errors import DeviceMemoryError, EncoderError
from weightspace.execute.pieces import in_pieces
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.nn import message, tiles

RESNET = str(files("weightspace.model_zoo") / "checkpoints" / "cifar10_resnet20.safetensors")


@pytest.fixture
def encoder() -> Encoder:
    return Encoder.from_pretrained()


@pytest.fixture
def batches(monkeypatch):
    """Networks of each call of the encoder's network, which has room for two."""
    found, real = [], SweepNetwork.forward

    def forward(self, plan, given, *rest):
        found.append(len(next(iter(given.values()))))
        if found[-1] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return real(self, plan, given, *rest)

    monkeypatch.setattr(SweepNetwork, "forward", forward)
    return found


def narrow(monkeypatch, room: int) -> list[int]:
    """Make no room for tiles of more than `room` numbers; return the sizes of those asked for."""
    found, real = [], tiles._converted

    def converted(part, dtype, buffer):
        found.append(part.numel())
        if found[-1] > room:
            raise torch.OutOfMemoryError("out of memory")
        return real(part, dtype, buffer)

    monkeypatch.setattr(tiles, "_converted", converted)
    return found


def test_too_many_at_once_are_encoded_in_smaller_batches(encoder, batches):
    networks = [Checkpoint(perceptron(4, 5, 3, seed=seed)) for seed in range(7)]
    found, lost = encoder.encode_stack(*networks)
    assert batches == [7, 4, 2, 2, 2, 1] and lost == [0] * 7
    for network, vector in zip(networks, found.vector, strict=True):
        torch.testing.assert_close(vector, encoder.encode(network).vector, rtol=1e-4, atol=1e-5)


def test_one_that_is_too_large_is_encoded_in_smaller_tiles(encoder, monkeypatch):
    checkpoint = Checkpoint(perceptron(20, 40, 30, 7))
    monkeypatch.setattr(tiles, "TILE", 400)
    whole = encoder.encode(checkpoint)
    sizes = narrow(monkeypatch, 100)
    assert apart(encoder.encode(checkpoint).vector, whole.vector) < 1e-5
    assert max(sizes) > 300 and max(sizes[-10:]) <= 100


def test_one_that_fits_nowhere_is_named_and_the_rest_goes_on(encoder, monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 400)
    narrow(monkeypatch, 10)
    large = Checkpoint(perceptron(20, 40, 30, 7), source="large")
    with pytest.raises(DeviceMemoryError, match=r"large: does not fit in the memory of cpu.*Encode it on the CPU"):
        encoder.encode(large)
    table = encoder.encode_many([large, Checkpoint(perceptron(4, 5, 3), source="small")])
    assert table.fine.tolist() == [False, True] and "does not fit" in table["error"][0]
    assert issubclass(DeviceMemoryError, EncoderError)


def test_tiles_are_whole_again_afterwards(encoder, monkeypatch):
    checkpoint = Checkpoint(perceptron(20, 40, 30, 7))
    monkeypatch.setattr(tiles, "TILE", 400)
    with monkeypatch.context() as patch, pytest.raises(DeviceMemoryError):
        narrow(patch, 10)
        encoder.encode(checkpoint)
    sizes = narrow(monkeypatch, 400)
    encoder.encode(checkpoint)
    assert max(sizes) > 300


def test_other_failures_are_not_tried_again():
    tried = []
    with pytest.raises(RuntimeError, match="broken"):
        in_pieces(lambda some: tried.append(some) or (_ for _ in ()).throw(RuntimeError("broken")), 8, 4)
    assert tried == [slice(0, 4)]


@pytest.mark.parametrize("name", GRAPHS)
def test_in_bfloat16_a_relabelling_moves_the_latent_by_less_than_a_hundredth(encoder, name):
    graph = GRAPHS[name]
    checkpoint, other = weights(graph), weights(graph, seed=1)
    known = build_graph(checkpoint)
    twin = relabel(checkpoint, known, random_permutations(known, generator=Generator().manual_seed(1)))
    exact, learned = encoder.encode(checkpoint).vector, slice(encoder.network.config.fixed, None)
    encoder.to("cpu", torch.bfloat16)
    vector = encoder.encode(checkpoint).vector
    assert 1e-7 < apart(vector[learned], exact[learned]) < 1e-2
    assert apart(vector, exact) < 0.1  # the fingerprint among the fixed numbers magnifies rounding
    assert apart(encoder.encode(twin).vector, vector) < 1e-2
    assert apart(encoder.encode(other).vector, vector) > 3e-2


def test_in_bfloat16_the_depth_of_a_network_does_not_magnify_what_a_relabelling_rounds(encoder, monkeypatch, device):
    checkpoint = load_checkpoint(RESNET)
    known = build_graph(checkpoint)
    twin = relabel(checkpoint, known, random_permutations(known, generator=Generator().manual_seed(0)))
    encoder.to(device, torch.bfloat16)

    def moved() -> float:
        return apart(encoder.encode(twin).vector, encoder.encode(checkpoint).vector)

    def rounded(large, small):
        return (large @ small.to(large.dtype)).to(small.dtype)

    assert moved() < 1e-3
    monkeypatch.setattr(message, "times", rounded)  # of states and sums too
    assert moved() > 1e-2


def test_in_bfloat16_streamed_and_kept_weights_say_the_same(encoder, monkeypatch):
    checkpoint = Checkpoint(perceptron(20, 40, 30, 7))
    encoder.to("cpu", torch.bfloat16)
    kept = encoder.encode(checkpoint).vector
    monkeypatch.setattr(tiles, "TILE", 100)
    streamed = encoder.encode(checkpoint).vector
    encoder.to("cpu")
    learned = slice(encoder.network.config.fixed, None)
    assert 0 < apart(streamed[learned], encoder.encode(checkpoint).vector[learned]) < 1e-2
    assert apart(streamed[learned], kept[learned]) < 5e-2
