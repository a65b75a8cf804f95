"""Where each position of a dimension sits, by examples small enough to write out."""

import numpy as np
import pytest

from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph, Prod, Span, Sum
from weightspace.graph.layout import digits_of, dimension_roles, segments

GRAPH = ParameterGraph(
    {
        "a": Axis("a", 2, "hidden"),
        "b": Axis("b", 3, "hidden"),
        "heads": Axis("heads", 2, "hidden"),
        "qk": Axis("qk", 2, "hidden", parent="heads"),
        "one": Axis("one", 1, "fixed", "a single unit"),
    },
    {},
    (),
    "infer",
)
A, B, HEADS, QK = Leaf("a"), Leaf("b"), Leaf("heads"), Leaf("qk")


def written_out(term):
    return [(s.axis, s.positions.tolist(), s.units.tolist(), s.slots.tolist()) for s in segments(GRAPH, term)]


@pytest.mark.parametrize(
    ("radices", "digits"),
    [
        ((), []),
        ((3,), [[0, 1, 2]]),
        ((2, 2), [[0, 0, 1, 1], [0, 1, 0, 1]]),
        ((2, 1, 2), [[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]]),
        ((2, 0), [[], []]),
    ],
)
def test_digits(radices, digits):
    assert [digit.tolist() for digit in digits_of(radices)] == digits


@pytest.mark.parametrize(
    ("term", "found"),
    [
        (A, [("a", [0, 1], [0, 1], [0, 0])]),
        (Span(3), [(None, [0, 1, 2], [0, 0, 0], [0, 1, 2])]),
        # a flattened map: channels major, two pixels each
        (Prod((A, Span(2))), [("a", [0, 1, 2, 3], [0, 0, 1, 1], [0, 1, 0, 1])]),
        # gates over the same units: the gate is major
        (Prod((Span(2), A)), [("a", [0, 1, 2, 3], [0, 1, 0, 1], [0, 0, 1, 1])]),
        # channels within rows and columns, as TensorFlow flattens: slots count row by row
        (Prod((Span(2), A, Span(2))), [("a", list(range(8)), [0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 0, 1, 2, 3, 2, 3])]),
        (Sum((A, Span(1), A)), [("a", [0, 1], [0, 1], [0, 0]), (None, [2], [0], [0]), ("a", [3, 4], [0, 1], [0, 0])]),
        # units of heads count over the whole network
        (Prod((HEADS, QK)), [("qk", [0, 1, 2, 3], [0, 1, 2, 3], [0, 0, 0, 0])]),
        # the same stored the other way round
        (Prod((QK, HEADS)), [("qk", [0, 1, 2, 3], [0, 2, 1, 3], [0, 0, 0, 0])]),
        # a parent that the dimension does not name is taken at its first unit
        (QK, [("qk", [0, 1], [0, 1], [0, 0])]),
        # units of a second axis count as slots of the first
        (Prod((A, B)), [("a", [0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])]),
        # a product with a concatenation inside: its minor part has length 3, of which 2 are a's
        (
            Prod((Span(2), Sum((A, Span(1))))),
            [("a", [0, 1, 3, 4], [0, 1, 0, 1], [0, 0, 1, 1]), (None, [2, 5], [0, 0], [0, 1])],
        ),
    ],
)
def test_segments(term, found):
    assert written_out(term) == found
    positions = np.concatenate([s.positions for s in segments(GRAPH, term)])
    assert sorted(positions.tolist()) == list(range(GRAPH.length(term)))


def test_factors_are_the_digits_of_the_positions():
    (first, second) = segments(GRAPH, Sum((Prod((HEADS, QK)), B)))
    assert first.factors == (HEADS, QK)
    assert {name: digit.tolist() for name, digit in first.digits.items()} == {"heads": [0, 0, 1, 1], "qk": [0, 1, 0, 1]}
    assert second.positions.tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("term", "ordered"),
    [(A, True), (Prod((A, Span(4))), True), (Prod((HEADS, QK)), True), (Prod((A, B)), False), (Prod((A, A)), False)],
)
def test_slots_have_an_order_unless_they_are_units(term, ordered):
    assert segments(GRAPH, term)[0].ordered(GRAPH) is ordered


@pytest.mark.parametrize(
    ("dims", "view", "roles"),
    [
        ((A, B), "oi", ([0], [1], [])),
        ((B, A), "io", ([1], [0], [])),
        ((Span(3), Span(3), B, A), "kkio", ([3], [2], [0, 1])),
        ((A,), "o", ([0], [], [])),
        # one input channel is no unit: a depthwise kernel sits on its channels alone
        ((A, Span(1), Span(3)), "oik", ([0], [], [1, 2])),
        # a dimension that has units is never taps
        ((A, Span(2), B), "oik", ([0], [2], [1])),
        # without an input, a further axis that has nothing to do with the first is read
        ((A, B), "oo", ([0], [1], [])),
        ((HEADS, QK), "oo", ([0, 1], [], [])),
        ((B, Span(2)), "ik", ([0], [], [1])),
        ((Span(2),), "k", ([], [], [0])),
        ((), "", ([], [], [])),
    ],
)
def test_roles_of_the_stored_dimensions(dims, view, roles):
    size = int(np.prod([GRAPH.length(term) for term in dims]))
    assert dimension_roles(GRAPH, Block("w", "linear", dims, view, size)) == roles
