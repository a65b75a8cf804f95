"""Generators that ship go with the decoders that ship."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from weightspace.audit.reference import Reference
from weightspace.decode.decoder import Decoder
from weightspace.generate.generator import Generator

GENERATORS = sorted(Path(str(files("weightspace.model_zoo"))).glob("generators/*/config.json"))


@pytest.mark.parametrize("config", GENERATORS, ids=lambda path: path.parent.name)
def test_a_generator_draws_networks_and_can_be_audited(config):
    generator, reference = Generator.from_pretrained(config.parent.name), Reference.load(config.parent)
    name = reference.decoder.rpartition("@")[0]
    decoder = Decoder.from_pretrained(name)
    assert decoder.id == reference.decoder, "the decoder was trained anew: run benchmarks.generate.fit again"
    assert len(reference.train) == len(generator.rows) == len(reference.rebuilt)
    high = next(code.high for code in generator.codes if code.name == "test_accuracy")
    networks = generator.sample(3, condition={"test_accuracy": (0.8 * high, None)}, seed=0).decode(decoder)
    assert len(networks) == 3 and networks[0].metadata["generated"] == generator.name
    size = sum(path.stat().st_size for path in config.parent.iterdir())
    assert size < 10_000_000 and (config.parent / "README.md").is_file()
