"""A report against a network worked out by hand."""

import json

import pytest

from weightspace.checkpoint.header import Header, TensorInfo
from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph
from weightspace.inspect.report import Report
from weightspace.inspect.sections import report_sections, shape_text


def _network(*, hidden=("hidden", ""), extra_kind="opaque", extra_axis=None):
    """Linear 3 -> 4 -> 2 without biases, and one more tensor of 5 numbers that nothing explains."""
    infos = [
        TensorInfo("net.0.weight", "F32", (4, 3)),
        TensorInfo("net.2.weight", "F32", (2, 4)),
        TensorInfo("extra", "F16", (5,)),
        TensorInfo("net.steps", "I64", ()),
    ]
    axes = [Axis("x", 3, "input"), Axis("h", 4, hidden[0], hidden[1]), Axis("y", 2, "output")]
    axes.append(extra_axis or Axis("e", 5, "fixed"))
    blocks = [
        Block("net.0.weight", "linear", (Leaf("h"), Leaf("x")), "oi", 12),
        Block("net.2.weight", "linear", (Leaf("y"), Leaf("h")), "oi", 8),
        Block("extra", extra_kind, (Leaf("e"),), "o", 5),
    ]
    graph = ParameterGraph({a.name: a for a in axes}, {b.tensor: b for b in blocks}, (), "infer")
    header = Header({i.name: i for i in infos}, {"format": "pt"}, {"tied": "extra"})
    return Report("net.safetensors", header, graph)


def test_counts_are_those_done_by_hand():
    found = _network().as_dict()
    assert (found["tensors"], found["weights"], found["dtypes"]) == (4, 25, {"F32": 2, "F16": 1, "I64": 1})
    assert (found["understood"], found["units"], found["free_units"]) == (20 / 25, 14, 4)
    assert [axis["units"] for axis in found["axes"]] == [3, 4, 2, 5]
    assert found["blocks"][3]["kind"] == "" and found["blocks"][1]["axes"] == ["y", "h"]


def test_a_report_survives_json():
    found = _network().as_dict()
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "no layer kind fits its name and shape"),
        ({"extra_kind": "bias"}, "axis 'e' is fixed for no known reason"),
        ({"extra_kind": "bias", "extra_axis": Axis("e", 5, "hidden")}, "nothing writes or reads axis 'e'"),
    ],
)
def test_an_opaque_tensor_has_its_reason(changes, reason):
    assert _network(**changes).opaque == {"extra": reason}


def test_what_is_understood_has_no_reason():
    assert _network(extra_kind="bias", extra_axis=Axis("e", 5, "fixed", "a table of times")).opaque == {}


def test_the_tree_names_each_module_once():
    tree = report_sections(_network())[1]
    assert [row[0] for row in tree.rows] == [
        "net",
        "  0",
        "    weight",
        "  2",
        "    weight",
        "extra",
        "net",
        "  steps",
    ]
    assert tree.rows[2][1:] == ("F32", "4x3", "12", "linear")


def test_the_tables_show_opaque_and_shared_tensors():
    titles = {section.title: section.rows for section in report_sections(_network())}
    assert titles["opaque tensors"] == (("extra", "no layer kind fits its name and shape"),)
    assert titles["shared tensors"] == (("tied", "extra"),)


def test_a_scalar_has_a_shape_too():
    assert (shape_text((16, 3, 3)), shape_text(())) == ("16x3x3", "scalar")
