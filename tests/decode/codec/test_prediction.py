"""What a decoder foretells need not be written; where it foretells nothing, the bytes are those without it."""

import dataclasses
import zlib

import numpy as np
import pytest
import torch
from torch import Generator, nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.decode.codec.codec import Compression, decode_weights, encode_many, encode_weights, is_foretold
from weightspace.decode.codec.file import pack_checkpoint
from weightspace.decode.codec.layout import Layout
from weightspace.decode.codec.prediction import Predictor, read_prediction
from weightspace.decode.codec.schemes import distilled
from weightspace.decode.decoder import Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.encode.encoder import Encoder
from weightspace.errors import CodecError, DecoderError
from weightspace.execute.module import from_module
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.zoo.architecture import architecture_of
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.store import find_population

SIGNATURE = Signature((1, 8, 8), 10)
MLP = "mlp:width=32,depth=2"


def tiny(seed: int = 0) -> Decoder:
    """A decoder that was never trained, of latents of the encoder that ships."""
    network = DecoderNetwork(
        DecoderConfig(width=12, trunk=16, rank=9, layers=2), generator=Generator().manual_seed(seed)
    )
    return Decoder("tiny", network, Encoder.from_pretrained().id, (SIGNATURE.inputs,), 10)


@pytest.fixture(scope="module")
def predictor():
    return Predictor(tiny(), Encoder.from_pretrained())


def made(predictor, text, noise=0.02, seed=0):
    """A network near to the one that the decoder makes of the mean of all latents, its units in another order."""
    generator = Generator().manual_seed(seed)
    program = architecture_of(text, signature=SIGNATURE)
    found = predictor.decoder.decode(predictor.decoder.network.mean[None], program)
    tensors = {}
    for name, (weight,) in found.items():
        away = noise * weight.float().square().mean().sqrt() * torch.randn(weight.shape, generator=generator)
        tensors[name] = weight + away if weight.is_floating_point() else weight
    checkpoint = Checkpoint(tensors, {"architecture": program.to_json()})
    graph = build_graph(checkpoint)
    return relabel(checkpoint, graph, random_permutations(graph, generator=generator))


def plain_net(classes):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
    return from_module(net, (torch.zeros(2, 1, 8, 8),))


def distance(found, checkpoint):
    floats = [n for n, t in checkpoint.tensors.items() if t.is_floating_point()]
    return float(sum((found[n] - checkpoint.tensors[n]).square().sum() for n in floats))


@pytest.fixture(scope="module")
def net(predictor):
    return made(predictor, MLP)


@pytest.fixture(scope="module")
def data(net, predictor):
    return encode_weights(net, Compression(1, "rounding", predictor=predictor))


@pytest.mark.parametrize(
    "text", [MLP, "resnet_bn:width=4", "vit_tiny:width=16,depth=1,heads=4,patch=4,activation=gelu"]
)
def test_what_is_foretold_comes_back_nearer_in_as_few_bits(text, predictor):
    net = made(predictor, text)
    graph, weights = build_graph(net), sum(t.numel() for t in net.tensors.values() if t.is_floating_point())

    data = encode_weights(net, Compression(2, "rounding", predictor=predictor))
    plain = encode_weights(net, Compression(2, "rounding"))
    found = decode_weights(data, graph, predictor.decoder)

    assert is_foretold(data) and not is_foretold(plain)
    assert 8 * len(data) <= 2 * weights
    assert {n: (t.shape, t.dtype) for n, t in found.items()} == {n: (t.shape, t.dtype) for n, t in net.tensors.items()}
    assert distance(found, net) < 0.1 * distance(decode_weights(plain, graph), net)


def test_networks_that_the_decoder_does_not_know_give_the_bytes_without_it(predictor):
    net = plain_net(10)

    for bits in (1, 3):
        assert encode_weights(net, Compression(bits, predictor=predictor)) == encode_weights(net, Compression(bits))


def test_order_is_told_not_guessed(net, data, predictor):
    graph = build_graph(net)
    other = relabel(net, graph, random_permutations(graph, generator=Generator().manual_seed(9)))
    again = encode_weights(other, Compression(1, "rounding", predictor=predictor))

    assert is_foretold(again) and again != data
    assert distance(decode_weights(again, graph, predictor.decoder), other) < 0.01 * distance(net.tensors, other)


def test_held_out_networks_are_never_worse_with_the_decoder_that_ships():
    predictor = Predictor(Decoder.from_pretrained("digits"), Encoder.from_pretrained())
    population = find_population("mlp_digits")
    rows = population.frame(where=[("split", "==", "test"), ("diverged", "==", False)]).sample(8, random_state=0)
    for identity in rows["id"]:
        net = population.checkpoint(str(identity))
        graph = build_graph(net)
        with_it = encode_weights(net, Compression(1, "rounding", predictor=predictor))
        without = encode_weights(net, Compression(1, "rounding"))
        assert with_it == without or is_foretold(with_it)
        assert 8 * len(with_it) <= net.header.weights
        lost = [relative(decode_weights(d, graph, predictor.decoder), net) for d in (with_it, without)]
        assert lost[0] <= lost[1]


def relative(found, net):
    """What schemes compare weights by: squared errors of tensors over their own squares."""
    pairs = [(found[n] - t, t) for n, t in net.tensors.items()]
    return sum(float(d.square().sum() / t.square().mean()) for d, t in pairs if t.any())


def test_learned_grids_of_what_is_left_answer_more_like_the_original(net, predictor, monkeypatch):
    monkeypatch.setattr(distilled, "UPDATES", 100)
    monkeypatch.setattr(distilled, "FAR", 0.0)
    inputs = torch.randn(128, 1, 8, 8, generator=Generator().manual_seed(1))
    graph = build_graph(net)

    data = encode_many([net], Compression(0.5, "distilled", inputs, predictor=predictor))[0]
    plain = encode_weights(net, Compression(0.5, "distilled", inputs))

    assert is_foretold(data)
    found = decode_weights(data, graph, predictor.decoder)
    assert distance(found, net) < 0.1 * distance(decode_weights(plain, graph), net)


def test_a_missing_or_wrong_decoder_is_named(net, data, predictor):
    graph, wanted = build_graph(net), predictor.decoder.id.partition("@")[2]

    with pytest.raises(CodecError, match=f"ends in @{wanted}; none was passed"):
        decode_weights(data, graph)
    with pytest.raises(CodecError, match=f"ends in @{wanted}; this is tiny@"):
        decode_weights(data, graph, tiny(1))


def test_bytes_that_are_cut_off_or_flipped_are_named(net, data, predictor):
    graph = build_graph(net)
    for i in range(0, len(data), 5):
        for broken in (data[:i], data[:i] + bytes([data[i] ^ 0x40]) + data[i + 1 :]):
            with pytest.raises(CodecError):
                decode_weights(broken, graph, predictor.decoder)


def test_hostile_bytes_with_right_checks_give_weights_of_the_graph_or_a_named_error(net, data, predictor):
    graph, draw, hashed = build_graph(net), np.random.default_rng(0), data[9:13]
    assert hashed.hex() == predictor.decoder.id.partition("@")[2]
    for i in range(100):
        told = (hashed if i % 4 else b"") + draw.bytes(int(draw.integers(0, 60)))
        length = len(told) if i % 3 else 127
        body = bytes([0, length]) + told + draw.bytes(int(draw.integers(0, 60)))
        broken = data[:3] + zlib.crc32(body).to_bytes(4, "little") + body
        try:
            found = decode_weights(broken, graph, predictor.decoder)
        except CodecError:
            continue
        assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in net.tensors.items()}


def test_what_was_foretold_is_read_as_it_was_written(net, predictor):
    graph = build_graph(net)
    layout = Layout.of(graph)
    told = predictor.predict(net, graph, layout)
    found = read_prediction(told.data, layout, graph, predictor.decoder)

    assert all(np.array_equal(found[name], m) for name, m in told.matrices.items())
    assert told.explained > 0.99 and told.gain > 0


def test_what_cannot_be_foretold_is_named(predictor, net):
    other = made(Predictor(tiny(), predictor.encoder), MLP)
    five = plain_net(5)

    with pytest.raises(DecoderError, match="has 5 outputs"):
        encode_weights(five, Compression(8, predictor=predictor))
    with pytest.raises(DecoderError, match="decodes those of another"):
        Predictor(dataclasses.replace(predictor.decoder, encoder="another"), predictor.encoder)
    with pytest.raises(CodecError, match="a file stands alone"):
        pack_checkpoint(other, Compression(2, predictor=predictor))
