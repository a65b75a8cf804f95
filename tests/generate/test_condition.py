from __future__ import annotations

import numpy as np
import pytest

from tests.generate.tables import make_table
from weightspace.errors import GeneratorError
from weightspace.generate.codes import read_codes
from weightspace.generate.condition import Asked, read_condition


@pytest.fixture(scope="module")
def seen():
    table = make_table()
    codes = read_codes(table, np.arange(len(table)), ["test_accuracy", "activation", "width"])
    rows = np.concatenate([code.write(list(table[code.name])) for code in codes], 1)
    return table, codes, rows


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("test_accuracy=0.5", {"test_accuracy": 0.5}),
        (["width=16", "activation=relu"], {"width": 16.0, "activation": "relu"}),
        ("test_accuracy=..0.3", {"test_accuracy": (None, 0.3)}),
        ("test_accuracy=0.2..0.3,width=32", {"test_accuracy": (0.2, 0.3), "width": 32.0}),
        ("", {}),
        ({"width": 16}, {"width": 16}),
    ],
)
def test_text_and_mappings_say_the_same(text, value):
    assert read_condition(text) == value


@pytest.mark.parametrize("text", ["accuracy", "=3", "a=", "a=1,a=2", "a=low..high"])
def test_a_condition_that_cannot_be_read_is_named(text):
    with pytest.raises(GeneratorError, match=r"key=value|twice|must be numbers"):
        read_condition(text)


def test_a_range_is_drawn_from_rows_that_lie_in_it(seen):
    asked = Asked(read_condition("test_accuracy=0.6..,activation=tanh"), seen[1], seen[2])
    drawn = asked.draw(50, np.random.default_rng(0))
    table = seen[0]
    there = table["test_accuracy"][(table["activation"] == "tanh") & (table["test_accuracy"] >= 0.6)]
    assert all(np.abs(there - value).min() < 1e-5 for value in drawn["test_accuracy"])
    assert set(drawn["activation"]) == {"tanh"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("test_acuracy=0.5", "Nearest: 'test_accuracy'"),
        ("width=20", "Nearest possible: width=16"),
        ("activation=relo", "Nearest possible: activation=relu"),
        ("activation=0..1", "a range is not"),
        ("test_accuracy=high", "must be a number"),
        ("test_accuracy=nan", "must be a number"),
        ("test_accuracy=0.5..0.2", "exchange the ends"),
        ("test_accuracy=1.5,activation=tanh", r"Nearest possible: test_accuracy=0\.8.*activation=tanh"),
        ("test_accuracy=2..3", r"Nearest possible: test_accuracy=0\.8"),
    ],
)
def test_the_impossible_is_refused_and_the_nearest_possible_named(seen, text, said):
    with pytest.raises(GeneratorError, match=said):
        Asked(read_condition(text), seen[1], seen[2])


def test_numbers_beyond_what_was_seen_must_be_asked_for_as_such(seen):
    condition = read_condition("test_accuracy=1.0")
    with pytest.raises(GeneratorError, match="beyond"):
        Asked(condition, seen[1], seen[2])
    drawn = Asked(condition, seen[1], seen[2], beyond=True).draw(3, np.random.default_rng(0))
    assert drawn["test_accuracy"].tolist() == [1.0] * 3
