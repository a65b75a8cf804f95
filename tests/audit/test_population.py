"""A reference is made anew from the population that a generator was fitted to, and from no other."""

import pytest

from weightspace.audit.population import reference_of_population
from weightspace.decode.decoder import Decoder
from weightspace.encode.encoder import Encoder
from weightspace.errors import AuditError
from weightspace.generate.files import find_generator
from weightspace.generate.generator import Generator
from weightspace.zoo.store import find_population


@pytest.fixture(scope="module")
def shipped():
    folder = find_generator("mlp_digits")
    return Generator.from_pretrained(folder), Decoder.from_pretrained("digits"), Encoder.from_pretrained()


def test_another_population_is_refused(shipped):
    with pytest.raises(AuditError, match="was fitted to networks that"):
        reference_of_population(*shipped, find_population("lineage"))
