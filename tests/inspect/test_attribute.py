"""Parts follow their units, add up, and say what taking a unit away says."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, nn

from weightspace.encode.encoder import Encoder
from weightspace.encode.network import SweepConfig, SweepNetwork
from weightspace.errors import ArchitectureError, EncoderError, GraphError
from weightspace.execute.module import from_module, to_module
from weightspace.graph.build import build_graph
from weightspace.graph.layout import Side
from weightspace.graph.symmetry.gates import Gates
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.inspect.attribute import attribute, attribute_difference, remove_units
from weightspace.inspect.deletion import deletion_curve
from weightspace.inspect.question import Asker, Question, ask_accuracy, ask_answers

METHODS = ["integrated", "gradient", "leave-one-out"]


@pytest.fixture(scope="module")
def encoder():
    sizes = SweepConfig(width=8, pairs=4, waves=0, features=16, stage=16, latent=24, signals=8)
    return Encoder("small", SweepNetwork(sizes, generator=Generator().manual_seed(0)).double())


def build(seed=0, *, activation=nn.Tanh):
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 5, 3), activation(), nn.Flatten(), nn.Linear(20, 7), activation(), nn.Linear(7, 3)
    )
    return from_module(module.double(), (torch.zeros(2, 1, 4, 4).double(),))


def along(encoder, seed=1):
    way = torch.randn(encoder.network.config.latent, generator=Generator().manual_seed(seed)).double()
    return Question("a direction", lambda vectors, _: vectors @ way)


def parts_by_unit(found):
    return {(unit.axis, unit.unit): unit.part for unit in found.units}


def gated(gates, net, values):
    stacked = gates.apply({name: tensor[None] for name, tensor in net.tensors.items()}, values)
    return {name: tensor[0] for name, tensor in stacked.items()}


def gates_of(checkpoint):
    return Gates.of(build_graph(checkpoint), Side.READ)


def test_a_gate_of_zero_is_a_unit_that_answers_zero():
    net = build()
    gates, x = gates_of(net), torch.randn(6, 1, 4, 4, generator=Generator().manual_seed(1)).double()
    assert len(gates.units) == 12
    unit = gates.units.index((gates.units[-1][0], 4))
    shut = torch.ones(1, 12).double()
    shut[0, unit] = 0
    tensors = gated(gates, net, shut)
    last = {n: t for n, t in net.tensors.items() if n.startswith("5")}
    hidden = x
    with torch.no_grad():
        found = to_module(replace(net, tensors=tensors))(x)
        w = net.tensors
        hidden = nn.functional.conv2d(x, w["0.weight"], w["0.bias"]).tanh().flatten(1)
        hidden = (hidden @ w["3.weight"].T + w["3.bias"]).tanh()
        hidden[:, 4] = 0
    torch.testing.assert_close(found, hidden @ last["5.weight"].T + last["5.bias"])


@pytest.mark.parametrize("method", METHODS)
def test_parts_move_with_their_units(encoder, method):
    net, question = build(), along(encoder)
    graph = build_graph(net)
    orders = random_permutations(graph, generator=Generator().manual_seed(2))
    first = parts_by_unit(attribute(encoder, net, question, method=method))
    moved = parts_by_unit(attribute(encoder, relabel(net, graph, orders), question, method=method))
    apart = [moved[axis, i] - first[axis, int(orders[axis][i])] for axis, i in moved]
    still = [moved[unit] - first[unit] for unit in moved]
    size = max(map(abs, first.values()))
    if method != "integrated":  # its ways are drawn by place
        assert max(map(abs, apart)) < 1e-6 * size
    assert max(map(abs, still)) > 1e-2 * size


def test_leave_one_out_is_what_the_encoder_says_of_the_network_without_the_unit(encoder):
    net, question = build(), along(encoder)
    found = attribute(encoder, net, question, method="leave-one-out")
    asker = Asker(encoder, net, question)
    gates = gates_of(net)
    shut = 1 - torch.eye(12, dtype=torch.float64)
    without = [
        replace(
            net,
            tensors=gated(gates, net, shut[i : i + 1]),
        )
        for i in range(12)
    ]
    with torch.no_grad():
        told = [float(asker({n: t[None] for n, t in other.tensors.items()})) for other in without]
    assert [unit.part for unit in found.units] == pytest.approx([found.value - one for one in told], abs=1e-9)


def test_integrated_parts_come_nearer_to_leave_one_out_than_slopes(encoder):
    net, question = build(), along(encoder)
    told = {m: torch.tensor([u.part for u in attribute(encoder, net, question, method=m).units]) for m in METHODS}
    apart = {m: float((told[m] - told["leave-one-out"]).norm()) for m in METHODS}
    assert apart["integrated"] < apart["gradient"]


def test_a_difference_adds_up_and_is_put_down_to_what_changed(encoder):
    net, question = build(), along(encoder)
    tensors = {name: tensor.clone() for name, tensor in net.tensors.items()}
    tensors["3.weight"][2] *= 1.5
    tensors["3.bias"][5] -= 0.3
    graph = build_graph(net)
    changed = replace(net, tensors=tensors)
    shuffled = relabel(net, graph, random_permutations(graph, generator=Generator().manual_seed(3)))
    found = attribute_difference(encoder, shuffled, changed, question)
    assert sum(found.blocks.values()) == pytest.approx(found.value - found.reference, rel=3e-2)
    assert sum(found.stages.values()) == pytest.approx(sum(found.blocks.values()))
    assert {(u.axis, u.unit) for u in found.units if u.part} == {("3.out", 2), ("3.out", 5)}
    assert sum(u.part for u in found.units) == pytest.approx(sum(found.blocks.values()))
    assert {name for name, part in found.blocks.items() if part} == {"3.weight", "3.bias"}


def test_without_a_question_a_difference_is_how_far_the_latent_went(encoder):
    a, b = build(), build(1)
    found = attribute_difference(encoder, a, b)
    apart = (encoder.encode(b).vector - encoder.encode(a).vector).norm()
    assert found.value == pytest.approx(float(apart), rel=1e-5) and found.reference == pytest.approx(0, abs=1e-9)


def test_deletion_takes_the_highest_units(encoder):
    net, question = build(), along(encoder)
    found = attribute(encoder, net, question, method="leave-one-out")
    (row,) = deletion_curve(encoder, net, question, found, shares=(1 / 12,))
    assert row.units == 1 and row.top == pytest.approx(-found.ranked[0].part)
    asker, upside_down = (
        Asker(encoder, net, question),
        replace(found, units=tuple(replace(u, part=-u.part) for u in found.units)),
    )
    (lowest,) = deletion_curve(encoder, net, question, upside_down, shares=(1 / 12,))
    assert lowest.top == pytest.approx(-found.ranked[-1].part) and lowest.top > row.top
    everything = remove_units(asker, gates_of(net), torch.tensor([[0.0] * 12, [1.0] * 12]))
    (all_of_them,) = deletion_curve(encoder, net, question, found, shares=(1.0,))
    assert all_of_them.top == pytest.approx(float(everything[1] - everything[0]))
    assert all_of_them.random == pytest.approx(abs(all_of_them.top)) and all_of_them.ratio == pytest.approx(1)


def test_blocks_that_say_nothing_when_shuffled_carry_nothing(encoder):
    net = build()
    tensors = dict(net.tensors) | {"3.bias": torch.full((7,), 0.25).double()}
    found = attribute(encoder, replace(net, tensors=tensors), along(encoder), method="gradient")
    assert found.blocks["3.bias"] == pytest.approx(0, abs=1e-12) and abs(found.blocks["3.weight"]) > 1e-6


def test_agreement_of_answers_is_highest_for_the_network_itself():
    sizes = SweepConfig(width=8, pairs=4, waves=0, features=16, stage=16, latent=24, probes=8, answers=8)
    encoder = Encoder("asks", SweepNetwork(sizes, generator=Generator().manual_seed(0)).double())
    net = build()
    found = attribute(encoder, net, ask_answers(encoder, net), method="leave-one-out")
    assert found.value == pytest.approx(0, abs=1e-12) and min(unit.part for unit in found.units) > 0


def test_agreement_on_inputs_of_ones_own_is_measured_on_them(encoder):
    net, x = build(), torch.randn(9, 1, 4, 4, generator=Generator().manual_seed(1)).double()
    question = ask_answers(encoder, net, x)  # an encoder without learned inputs will do
    found = attribute(encoder, net, question, method="leave-one-out")
    assert found.value == pytest.approx(0, abs=1e-12) and min(unit.part for unit in found.units) > 0
    gates, shut = gates_of(net), 1 - torch.eye(12)[:1].double()
    with torch.no_grad():
        whole, less = (to_module(one)(x).log_softmax(1) for one in (net, replace(net, tensors=gated(gates, net, shut))))
    part = parts_by_unit(found)[gates.units[0]]
    assert part == pytest.approx(float((whole.exp() * (whole - less)).sum(1).mean()))
    with pytest.raises(EncoderError, match=r"takes inputs of shape \(1, 4, 4\)"):
        ask_answers(encoder, net, torch.zeros(2, 1, 5, 5))


def test_accuracy_on_labelled_inputs_is_what_counting_says_whatever_the_scale(encoder):
    net, x = build(), torch.randn(400, 1, 4, 4, generator=Generator().manual_seed(1)).double()
    labels = torch.randint(3, (400,), generator=Generator().manual_seed(2))
    with torch.no_grad():
        told = to_module(net)(x).argmax(1)
    labels[:300] = told[:300]
    share = float((labels == told).float().mean())
    found = attribute(encoder, net, ask_accuracy(encoder, net, x, labels), method="leave-one-out")
    assert found.value == pytest.approx(share, abs=0.05) and share > 0.75
    loud = replace(net, tensors=dict(net.tensors) | {n: 9 * net.tensors[n] for n in ("5.weight", "5.bias")})
    again = attribute(encoder, loud, ask_accuracy(encoder, loud, x, labels), method="leave-one-out")
    assert again.value == pytest.approx(found.value) and parts_by_unit(again) == pytest.approx(parts_by_unit(found))
    wrong = Asker(encoder, net, ask_accuracy(encoder, net, x, (labels + 1) % 3))
    assert float(wrong(wrong.alone)) < 0.25


def test_a_silent_network_names_half_of_nothing_and_has_slopes(encoder):
    net = build()
    silent = replace(net, tensors={name: torch.zeros_like(tensor) for name, tensor in net.tensors.items()})
    question = ask_accuracy(encoder, silent, torch.ones(5, 1, 4, 4).double(), torch.zeros(5, dtype=torch.int64))
    found = attribute(encoder, silent, question, method="gradient")
    assert found.value == 0.5 and all(abs(unit.part) < 1e-9 for unit in found.units)


@pytest.mark.parametrize("labels", [torch.zeros(4).long(), torch.full((5,), 3), torch.zeros(5), torch.full((5,), -1)])
def test_labels_that_are_not_the_classes_of_the_inputs_are_said(encoder, labels):
    with pytest.raises(EncoderError, match="one whole number an input, from 0 to 2"):
        ask_accuracy(encoder, build(), torch.ones(5, 1, 4, 4).double(), labels)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (
            {"5.bias": torch.tensor([0.0, float("nan"), 0.0])},
            ArchitectureError,
            "5.bias hold numbers that are not finite",
        ),
        ({"5.bias": torch.zeros(4)}, ArchitectureError, "different architectures"),
        ({}, EncoderError, "no difference to share out"),
    ],
)
def test_what_cannot_be_compared_is_said(encoder, change, error, said):
    net = build()
    other = replace(net, tensors=dict(net.tensors) | change)
    with pytest.raises(error, match=said):
        attribute_difference(encoder, net, other)


def test_networks_without_hidden_units_or_answers_are_named(encoder):
    torch.manual_seed(0)
    flat = from_module(nn.Linear(3, 2).double(), (torch.zeros(2, 3).double(),))
    with pytest.raises(GraphError, match="no hidden unit"):
        attribute(encoder, flat, along(encoder))
    with pytest.raises(EncoderError, match="cannot ask it for answers"):
        ask_answers(encoder, flat)


def test_slopes_that_are_not_finite_are_said(encoder):
    broken = Question("a root of zero", lambda vectors, _: (0 * vectors).sum(1).sqrt())
    assert all(unit.part == 0 for unit in attribute(encoder, build(), broken, method="leave-one-out").units)
    with pytest.raises(EncoderError, match=r"12 of 12 slopes are not finite.*leave-one-out"):
        attribute(encoder, build(), broken)
