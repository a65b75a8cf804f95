from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator as Random

from weightspace.decode.decoder import Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.errors import DecoderError, GeneratorError
from weightspace.execute.module import to_module
from weightspace.generate.sample import Sample
from weightspace.zoo.architecture import architecture_of

LATENT = 8
PROGRAMS = [
    architecture_of(f"{spec},inputs=1x8x8,classes=10").to_json()
    for spec in ("mlp:width=4,depth=1", "resnet_bn:depth=8,width=4")
]


@pytest.fixture(scope="module")
def decoder():
    network = DecoderNetwork(DecoderConfig(latent=LATENT), generator=Random().manual_seed(0))
    return Decoder("drawn", network, "drawn", ((1, 8, 8),), 10)


def make(programs, encoder="drawn"):
    vectors = np.random.default_rng(0).standard_normal((len(programs), LATENT)).astype(np.float32)
    asked = {"test_accuracy": np.linspace(0, 1, len(programs))}
    return Sample(vectors, asked, tuple(programs), encoder, "mine")


def test_each_latent_becomes_the_network_that_it_stands_for_in_order(decoder):
    a, b = PROGRAMS
    sample = make([a, b, a])
    networks = sample.decode(decoder)
    alone = Sample(sample.vectors[2:], {}, (a,), "drawn", "mine").decode(decoder)[0]
    for name, tensor in alone.tensors.items():
        torch.testing.assert_close(networks[2].tensors[name], tensor)
    assert [n.metadata["architecture"] for n in networks] == [a, b, a]
    assert (
        np.frombuffer(bytes.fromhex(networks[1].metadata["latent"]), np.float32).tolist() == sample.vectors[1].tolist()
    )
    assert networks[1].metadata["asked.test_accuracy"] == "0.5"


def test_batch_norms_are_measured_where_there_are_inputs(decoder):
    x = torch.randn(60, 1, 8, 8, generator=Random().manual_seed(0))
    bare, measured = (make(PROGRAMS[1:]).decode(decoder, inputs)[0] for inputs in (None, x))
    assert bare.tensors["bn1.running_mean"].abs().sum() == 0
    assert measured.tensors["bn1.running_mean"].abs().sum() > 0
    assert to_module(measured)(x).isfinite().all()


def test_latents_of_another_encoder_are_refused(decoder):
    with pytest.raises(DecoderError, match="of another"):
        make(PROGRAMS[:1], encoder="another").decode(decoder)


def test_an_architecture_for_each_latent():
    with pytest.raises(GeneratorError, match="2 latents but 1 architectures"):
        Sample(np.zeros((2, LATENT), np.float32), {}, (PROGRAMS[0],), "drawn", "mine")
