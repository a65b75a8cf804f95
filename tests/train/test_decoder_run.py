"""A training of a decoder is said in YAML, can be stopped, and ends with a decoder that fits its encoder."""

import time

import pytest
import torch
from torch import Generator

from tests.train.conftest import SMALL
from weightspace.decode.network import DecoderConfig
from weightspace.encode.encoder import Encoder
from weightspace.encode.network import SweepNetwork
from weightspace.errors import ConfigError
from weightspace.train import decoder_run
from weightspace.train.decoder_run import DecoderTrainConfig, parse_decoder_config, read_decoder_config, train_decoder
from weightspace.train.encoder import Place

TINY = DecoderConfig(trunk=16, stories=1, width=12, waves=4, rank=4, layers=1)
NAMED = {"name": "mine", "populations": ["p"], "encoder": "e"}


@pytest.fixture(scope="module")
def config(population, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    Encoder("drawn", SweepNetwork(SMALL, generator=Generator().manual_seed(0))).save(folder)
    return DecoderTrainConfig(
        "mine", (str(population.folder),), str(folder), TINY, steps=4, networks=4, images=8, inputs=16, views=0
    )


@pytest.fixture(autouse=True)
def own_architecture_only(monkeypatch):
    monkeypatch.setattr("weightspace.train.decoder.OWN", 1.0)


def test_a_trained_decoder_knows_its_encoder_and_what_it_makes(config, tmp_path):
    seen = []
    decoder = train_decoder(config, Place(tmp_path / "s.pt"), report=lambda step, steps, told: seen.append(step))
    assert decoder.encoder == Encoder.from_pretrained(config.encoder).id
    assert (decoder.shapes, decoder.classes) == (((1, 8, 8),), 10) and seen == [1, 2, 3, 4]
    assert decoder.network.config.latent == SMALL.latent
    assert decoder.id == train_decoder(config, Place(tmp_path / "t.pt")).id


def test_a_stopped_training_ends_as_if_it_had_not_been(config, tmp_path, monkeypatch):
    whole = train_decoder(config, Place(tmp_path / "whole.pt"))
    monkeypatch.setattr(decoder_run, "SAVE_EVERY", 0.0)

    def stop(step, steps, told):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_decoder(config, Place(tmp_path / "part.pt"), report=stop)
    assert train_decoder(config, Place(tmp_path / "part.pt")).id == whole.id


def test_time_ends_a_training_that_takes_longer(config, tmp_path):
    from dataclasses import replace

    start = time.monotonic()
    decoder = train_decoder(replace(config, steps=10**9, seconds=0.5), Place(tmp_path / "s.pt"))
    assert decoder.network.mean.abs().sum() > 0 and time.monotonic() > start


def test_principal_components_alone_can_be_looked_at(config, tmp_path):
    from dataclasses import replace

    decoder = train_decoder(replace(config, sizes=replace(TINY, numbers=3)), Place(tmp_path / "s.pt"))
    sizes = torch.linalg.svdvals(decoder.network.view)
    assert sizes[2] > 1e-2 * sizes[0] and sizes[3] < 1e-5 * sizes[0]


def test_a_configuration_is_read(tmp_path):
    (tmp_path / "c.yaml").write_text("{name: mine, populations: [p, q], encoder: e, seconds: 5, sizes: {rank: 8}}")
    found = read_decoder_config(tmp_path / "c.yaml")
    assert found == DecoderTrainConfig("mine", ("p", "q"), "e", DecoderConfig(rank=8), seconds=5.0)


@pytest.mark.parametrize(
    "content, said",
    [
        ({"name": "x", "populations": ["p"]}, r"\['encoder'\] are missing"),
        (NAMED | {"populations": "p"}, "no list of folders"),
        (NAMED | {"stepz": 3}, "'stepz' is not known"),
        (NAMED | {"steps": 0}, "steps must be at least 1"),
        (NAMED | {"learning_rate": "fast"}, "'fast' is no number"),
        (NAMED | {"sizes": {"rank": 0}}, "sizes: rank must be at least 1"),
        (NAMED | {"sizes": 3}, "no mapping of sizes"),
    ],
)
def test_what_does_not_fit_is_named(content, said):
    with pytest.raises(ConfigError, match=said):
        parse_decoder_config(content)


@pytest.mark.parametrize("text", ["[1]", "{", "3"])
def test_a_file_without_a_mapping_is_named(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"c.yaml: "):
        read_decoder_config(tmp_path / "c.yaml")
