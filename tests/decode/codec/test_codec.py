"""Bytes and a graph give the weights back; anything else is a named error."""

import dataclasses
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from weightspace.checkpoint.load import load_checkpoint
from weightspace.decode.codec.codec import HEAD, Compression, decode_weights, encode_many, encode_weights
from weightspace.decode.codec.schemes import SCHEMES, distilled
from weightspace.errors import CodecError
from weightspace.execute.module import from_module
from weightspace.execute.run import run_checkpoints
from weightspace.graph.build import build_graph


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    monkeypatch.setattr(distilled, "UPDATES", 200)


BLIND = [name for name, scheme in SCHEMES.items() if not scheme.needs_inputs]


def small_net(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))
    return from_module(net, (torch.zeros(2, 12),))


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.fixture(scope="module")
def graph(net):
    return build_graph(net)


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(256, 12, generator=torch.Generator().manual_seed(1))


def weights_of(checkpoint):
    return sum(t.numel() for t in checkpoint.tensors.values())


def distance(a, b):
    return float(torch.cat([(a[n].double() - b[n].double()).flatten() for n in a]).square().mean().sqrt())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", [3])
def test_every_scheme_keeps_its_budget_and_gets_finer_with_more_bits(net, graph, inputs, scheme, bits):
    data = encode_weights(net, Compression(bits, scheme, inputs))
    coarser = encode_weights(net, Compression(bits - 1, scheme, inputs))

    found = decode_weights(data, graph)

    assert 8 * len(data) <= bits * weights_of(net)
    assert {n: (t.shape, t.dtype) for n, t in found.items()} == {n: (t.shape, t.dtype) for n, t in net.tensors.items()}
    assert distance(found, net.tensors) < distance(decode_weights(coarser, graph), net.tensors)


@pytest.mark.parametrize("scheme", BLIND)
def test_equal_weights_give_equal_bytes(net, scheme):
    assert encode_weights(net, Compression(4, scheme)) == encode_weights(small_net(), Compression(4, scheme))
    assert encode_weights(net, Compression(4, scheme)) != encode_weights(small_net(1), Compression(4, scheme))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_keep_their_precision(net, graph, dtype):
    cast = dataclasses.replace(net, tensors={n: t.to(dtype) for n, t in net.tensors.items()})

    found = decode_weights(encode_weights(cast, Compression(6)), graph)

    assert {t.dtype for t in found.values()} == {dtype}


def test_counters_and_integers_come_back_exactly():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3))
    net[1].num_batches_tracked += 7
    checkpoint = load_checkpoint(net)

    found = decode_weights(encode_weights(checkpoint, Compression(6)), build_graph(checkpoint))

    assert found["1.num_batches_tracked"].equal(torch.tensor(7))
    assert set(found) == set(checkpoint.tensors)
    assert (found["1.running_var"] > 0).all()


def test_networks_encoded_together_and_alone_lose_nothing_to_each_other(graph, inputs):
    nets = [small_net(0), small_net(1)]

    together = encode_many(nets, Compression(3, "feedback", inputs))

    assert together == [encode_weights(net, Compression(3, "feedback", inputs)) for net in nets]
    assert distance(decode_weights(together[1], graph), nets[1].tensors) < 0.05


def test_learned_grids_answer_more_like_the_original_than_rounded_ones(net, graph, inputs):
    data = {name: encode_weights(net, Compression(1.5, name, inputs)) for name in ("rounding", "distilled")}
    nets = [dataclasses.replace(net, tensors=decode_weights(d, graph)) for d in data.values()]
    unseen = torch.randn(500, 12, generator=torch.Generator().manual_seed(2))
    wanted = run_checkpoints([net], unseen)[0]

    rounded, learned = ((run_checkpoints([one], unseen)[0] - wanted).square().mean() for one in nets)

    assert learned < 0.5 * rounded


def test_without_a_scheme_the_best_is_taken(net, graph, inputs):
    best = encode_weights(net, Compression(1.5, inputs=inputs))

    assert list(SCHEMES)[best[0] & 15] == "distilled"
    assert list(SCHEMES)[encode_weights(net, Compression(1.5))[0] & 15] == "rounding"


def test_every_flipped_byte_is_noticed(net, graph):
    data = encode_weights(net, Compression(2))
    for i in range(len(data)):
        broken = data[:i] + bytes([data[i] ^ 0x40]) + data[i + 1 :]
        with pytest.raises(CodecError):
            decode_weights(broken, graph)


@pytest.mark.parametrize("size", [0, 3, HEAD, -1])
def test_bytes_that_are_cut_off_are_named(net, graph, size):
    with pytest.raises(CodecError, match=r"cut off|damaged"):
        decode_weights(encode_weights(net, Compression(2))[:size], graph)


def test_another_architecture_is_named(net):
    other = load_checkpoint(nn.Linear(3, 4))

    with pytest.raises(CodecError, match="another architecture"):
        decode_weights(encode_weights(net, Compression(2)), build_graph(other))


def test_hostile_bytes_with_right_checks_give_weights_of_the_graph_or_a_named_error(net, graph):
    head, draw = encode_weights(net, Compression(2))[:3], np.random.default_rng(0)
    for i in range(200):
        body = draw.bytes(int(draw.integers(1, 60)))
        data = bytes([head[0] & 0xF0 | i % len(SCHEMES)]) + head[1:] + zlib.crc32(body).to_bytes(4, "little") + body
        try:
            found = decode_weights(data, graph)
        except CodecError:
            continue
        assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in net.tensors.items()}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"bits": 0.01}, "0.01 bits a weight"),
        ({"bits": 99}, "99 bits a weight"),
        ({"scheme": "zip"}, "no scheme 'zip'"),
        ({"scheme": "feedback"}, "pass inputs"),
    ],
)
def test_a_request_that_cannot_be_met_is_named(change, match):
    with pytest.raises(CodecError, match=match):
        Compression(**{"bits": 2} | change)


def test_weights_that_are_not_finite_are_named(net):
    broken = dataclasses.replace(net, tensors={**net.tensors, "0.bias": torch.full((8,), torch.nan)})

    with pytest.raises(CodecError, match=r"0\.bias.*not finite"):
        encode_weights(broken, Compression(4))


def test_a_network_too_small_for_its_rate_is_named():
    with pytest.raises(CodecError, match="ask for more bits"):
        encode_weights(load_checkpoint(nn.Linear(3, 2)), Compression(0.5))
