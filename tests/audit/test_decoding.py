"""Held-out networks decoded into many architectures; and what cannot be measured."""

import dataclasses

import pytest
import torch

from weightspace.audit.decoding import Asked, measure_decoder, others, read_held, rounded
from weightspace.decode.decoder import Decoder
from weightspace.encode.encoder import Encoder
from weightspace.errors import AuditError, DecoderError
from weightspace.train import decoder_data
from weightspace.train.into import Menu
from weightspace.zoo.data import load_dataset
from weightspace.zoo.families.signature import Signature
from weightspace.zoo.store import find_population


@pytest.fixture(scope="module")
def encoder():
    return Encoder.from_pretrained()


@pytest.fixture(scope="module")
def decoder():
    return Decoder.from_pretrained("digits")


@pytest.fixture(scope="module")
def population():
    return find_population("mlp_digits")


@pytest.fixture
def few(monkeypatch):
    """The first networks of one architecture in the place of all."""

    def read(*arguments):
        stack = next(decoder_data.read_stacks(*arguments))
        weights = {name: t[:5] for name, t in stack.weights.items()}
        yield dataclasses.replace(stack, rows=stack.rows.iloc[:5], weights=weights)

    monkeypatch.setattr("weightspace.audit.decoding.read_stacks", read)


def test_own_and_other_architectures_are_measured(decoder, encoder, population, few):
    seen = []
    found = measure_decoder(decoder, encoder, population, report=lambda done, total: seen.append(done))

    assert seen == [1] and found["own"]["networks"] == 5
    assert found["own"]["share"] == 1 and 0.3 < found["width x 2"]["share"] < 1.5
    assert {"own, 8 bits", "width x 0.5", "width x 4", "one layer deeper", "width 12, never seen"} < set(found)


def test_a_decoder_is_refused_latents_of_another_encoder(decoder, encoder, population):
    with pytest.raises(DecoderError, match="are of zoo-256"):
        measure_decoder(Decoder("d", decoder.network, "drawn", decoder.shapes, 10), encoder, population)


def test_networks_of_other_classes_are_refused(decoder, encoder, population, few):
    other = Decoder("d", decoder.network, decoder.encoder, decoder.shapes, 3)
    with pytest.raises(DecoderError, match="10 outputs"):
        next(read_held(other, encoder, population, Asked(load_dataset("digits"))))


def test_a_population_without_held_out_networks_is_refused(decoder, encoder, population, monkeypatch):
    monkeypatch.setattr("weightspace.audit.decoding.read_stacks", lambda *_: iter(()))
    with pytest.raises(AuditError, match="nothing was held out"):
        measure_decoder(decoder, encoder, population)


def test_eight_bits_move_latents_little(decoder):
    mean, spread = decoder.network.mean, decoder.network.spread
    drawn = torch.randn(5, len(mean), generator=torch.Generator().manual_seed(0)).clamp(-3, 3).to(mean)
    moved = (rounded(decoder, mean + spread * drawn) - (mean + spread * drawn)) / spread
    assert 0 < moved[:, spread > 1e-6].abs().max() < 0.04


def test_a_family_without_width_has_its_own_architecture_alone():
    menu = Menu.of(Signature((64,), 10))
    assert others({"family": "siren", "options": {}}, menu) == {}
    assert len(others({"family": "mlp", "options": {"width": 8, "activation": "relu", "depth": 2}}, menu)) == 6
