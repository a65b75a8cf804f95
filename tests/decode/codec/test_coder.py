"""What is written is read, call for call; what is damaged is named."""

import numpy as np
import pytest

from weightspace.decode.codec.coder import SymbolReader, SymbolWriter, symbol_bits
from weightspace.decode.codec.masses import LARGEST
from weightspace.errors import CodecError


def numbers(count, spread, seed=0):
    return np.rint(np.random.default_rng(seed).laplace(size=count) * spread).astype(np.int64)


def test_every_kind_of_number_comes_back_in_order():
    writer, many = SymbolWriter(), numbers(300, 5)
    writer.number(6, 7)
    writer.move(3, 70, 80)
    writer.symbols(many)
    writer.numbers(np.arange(10), 10)
    writer.symbols(np.zeros(4, np.int64))
    writer.symbols(many * 100)

    reader = SymbolReader(writer.getvalue())

    assert reader.number(7) == 6
    assert reader.move(70, 80) == 3
    assert (reader.symbols(300) == many).all()
    assert (reader.numbers(10, 10) == np.arange(10)).all()
    assert (reader.symbols(4) == 0).all()
    assert (reader.symbols(300) == many * 100).all()


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_the_bits_that_are_foretold_are_the_bits_that_are_taken(spread):
    many, writer = numbers(5000, spread), SymbolWriter()

    writer.symbols(many)

    assert 8 * len(writer.getvalue()) == pytest.approx(symbol_bits(many), abs=70)


def test_a_number_near_the_one_before_is_shorter_than_one_far_from_it():
    near, far = SymbolWriter(), SymbolWriter()
    for _ in range(100):
        near.move(40, 40, 80)
        far.move(79, 0, 80)

    assert len(near.getvalue()) < len(far.getvalue()) / 5


def test_an_outlier_is_written_as_it_is():
    many, writer = np.array([0, 1, -1, 0, LARGEST, 0]), SymbolWriter()

    writer.symbols(many)

    assert (SymbolReader(writer.getvalue()).symbols(6) == many).all()


def test_a_number_too_large_is_named():
    with pytest.raises(CodecError, match="a weight of 32768 steps"):
        SymbolWriter().symbols(np.array([LARGEST + 1]))


def test_noise_in_the_place_of_a_stream_gives_numbers_or_a_named_error():
    draw = np.random.default_rng(0)
    for _ in range(300):
        reader = SymbolReader(draw.bytes(int(draw.integers(0, 40))))
        try:
            assert len(reader.symbols(500)) == 500
        except CodecError as error:
            assert "damaged" in str(error)
