"""A parameter graph keeps its promises or is refused with the reason, and counts by hand-worked examples."""

from dataclasses import FrozenInstanceError

import pytest

from weightspace.errors import GraphError
from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph, Prod, Span, Stage, Sum, leaves

X, H, Y, HEADS, QK = (Leaf(name) for name in ("x", "h", "y", "heads", "qk"))
AXES = {
    "x": Axis("x", 3, "input"),
    "h": Axis("h", 4, "hidden"),
    "y": Axis("y", 2, "output"),
    "heads": Axis("heads", 2, "hidden"),
    "qk": Axis("qk", 5, "hidden", parent="heads"),
}


def block(tensor, kind, dims, view="oi"):
    sizes = ParameterGraph(AXES, {}, (), "infer")
    size = 1
    for term in dims:
        size *= sizes.length(term)
    return Block(tensor, kind, dims, view, size)


def graph(*blocks, stages=(), axes=AXES):
    used = {leaf.axis for b in blocks for term in b.dims for leaf in leaves(term)}
    named = used | {axes[name].parent for name in used} - {None}
    kept = {name: axis for name, axis in axes.items() if name in named}
    return ParameterGraph(kept, {b.tensor: b for b in blocks}, stages, "infer")


MLP = (block("w1", "linear", (H, X)), block("b1", "bias", (H,), "o"), block("w2", "linear", (Y, H)))


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda: Block("w", "linear", (H, X), "o", 12),
            r"'w': view 'o' must have one letter of 'oik' for each of its 2",
        ),
        (lambda: Block("w", "linear", (H, X), "oz", 12), r"view 'oz'"),
        (
            lambda: ParameterGraph({"a": Axis("a", 2, "hidden", parent="b")}, {}, (), "infer"),
            r"'a': its parent 'b' is not",
        ),
        (
            lambda: ParameterGraph({"h": AXES["h"]}, {"w": Block("w", "linear", (H, X), "oi", 12)}, (), "infer"),
            r"block 'w': axes \['x'\] are not in the graph",
        ),
        (
            lambda: ParameterGraph(AXES, {"w": Block("w", "linear", (H, X), "oi", 13)}, (), "infer"),
            r"'w': its dimensions \[4, 3\] do not hold 13 numbers",
        ),
    ],
)
def test_a_broken_promise_is_named(build, text):
    with pytest.raises(GraphError, match=text):
        build()


def test_a_graph_never_changes():
    given = dict(AXES)
    found = ParameterGraph(given, {}, (), "infer", {"alias": "w"})
    given.clear()
    assert found.axes == AXES
    with pytest.raises(TypeError):
        found.axes["x"] = AXES["h"]
    with pytest.raises(TypeError):
        found.shared["other"] = "w"
    with pytest.raises(FrozenInstanceError):
        found.axes = {}
    with pytest.raises(FrozenInstanceError):
        AXES["x"].size = 4


@pytest.mark.parametrize(
    ("term", "length"),
    [(H, 4), (Span(7), 7), (Prod((H, Span(7))), 28), (Sum((H, X, Span(1))), 8), (Prod((HEADS, QK)), 10), (Prod(()), 1)],
)
def test_lengths(term, length):
    assert ParameterGraph(AXES, {}, (), "infer").length(term) == length


def test_children_count_once_in_each_unit_of_their_parents():
    axes = {**AXES, "pair": Axis("pair", 3, "hidden", parent="qk")}
    found = ParameterGraph(axes, {}, (), "infer")
    assert [found.count(name) for name in ("heads", "qk", "pair")] == [2, 10, 30]
    assert found.lineage("pair") == ("heads", "qk", "pair")
    assert found.units == 3 + 4 + 2 + 2 + 10 + 30
    assert found.free_units == 4 + 2 + 10 + 30


def test_a_single_unit_is_not_free():
    assert ParameterGraph({"h": Axis("h", 1, "hidden")}, {}, (), "infer").free_units == 0


def test_terms_of_the_two_sides():
    gates = block("w", "recurrent gate", (X, Prod((Span(4), H))), "io")
    assert (gates.out_axis, gates.in_axis, gates.axes) == (Prod((Span(4), H)), X, ("x", "h"))
    bias = block("b", "bias", (H,), "o")
    assert (bias.out_axis, bias.in_axis) == (H, None)
    kernel = block("k", "conv", (Span(3), HEADS, QK, X), "kooi")
    assert (kernel.out_axis, kernel.in_axis) == (Prod((HEADS, QK)), X)
    assert block("t", "filter bank", (Span(2),), "k").out_axis is None


def test_written_and_read():
    found = graph(*MLP, block("e", "embedding", (X, H), "io"))
    assert (found.written, found.read) == ({"h", "y"}, {"x", "h"})
    token = graph(block("cls", "token embedding", (H,), "o"))
    assert (token.written, token.read) == ({"h"}, frozenset())
    consumed = graph(block("q", "linear", (Prod((HEADS, QK)), X)), stages=(Stage("q", "linear", ("q",), (), ("qk",)),))
    assert consumed.read == {"x", "qk"}


def test_everything_in_a_perceptron_is_understood():
    found = graph(*MLP)
    assert (found.understood, found.opaque) == (1, ())
    assert all(found.obstacles(b) == () for b in found.blocks.values())


def test_what_nothing_reads_is_not_understood():
    found = graph(MLP[0], MLP[1])
    assert found.obstacles(MLP[0]) == ("nothing reads axis 'h'",)
    assert found.opaque == ("w1", "b1") and found.understood == 0


def test_what_nothing_writes_and_reads_is_not_understood():
    found = graph(*MLP, block("scale", "norm scale", (Prod((HEADS, QK)),), "o"))
    why = ("nothing writes or reads axis 'heads'", "nothing writes or reads axis 'qk'")
    assert found.obstacles(found.blocks["scale"]) == why
    assert found.understood == pytest.approx(24 / 34)  # 12 + 4 + 8 of 24 + 10


def test_a_fixed_axis_needs_a_reason():
    table = block("t", "position embedding", (X, H), "io")
    for reason, why in (("positions", ()), ("", ("axis 'x' is fixed for no known reason",))):
        found = graph(table, *MLP[2:], axes={**AXES, "x": Axis("x", 3, "fixed", reason)})
        assert found.obstacles(table) == why
        assert found.understood == pytest.approx(1 if reason else 8 / 20)


def test_an_opaque_block_is_not_understood_whatever_its_axes():
    strange = block("s", "opaque", (Y, X))
    assert graph(*MLP, strange).obstacles(strange) == ("no layer kind fits its name and shape",)


def test_a_graph_without_weights_is_understood():
    assert ParameterGraph({}, {}, (), "infer").understood == 1


def test_a_graph_shows_what_it_holds_in_one_line():
    whole = graph(*MLP, stages=())
    assert repr(whole) == "ParameterGraph(infer: 3 axes, 3 blocks, 24 weights, understood 1.000, 4 free units)"
