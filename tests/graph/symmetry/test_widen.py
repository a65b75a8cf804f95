"""Wider networks answer what the network answers, whichever way weights are split among the copies."""

import pytest
import torch
from torch import Generator, nn
from torch.func import functional_call

from weightspace.errors import GraphError
from weightspace.graph.symmetry.widen import widen
from weightspace.graph.trace import trace_graph
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

IMAGES, DIGITS = Signature((1, 20, 20), 10), Signature((64,), 10)
CASES = {
    "smallcnn": (IMAGES, {"width": 4, "activation": "gelu"}),
    "resnet_bn": (IMAGES, {"width": 4, "depth": 8}),
    "mlp": (DIGITS, {"width": 6, "depth": 2, "activation": "tanh"}),
    "siren": (Signature((2,), 1), {"width": 5, "depth": 2}),
}


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_a_wider_network_answers_the_same(name, factor, uneven):
    torch.manual_seed(0)
    signature, options = CASES[name]
    module = build_network(name, signature, options).double().eval()
    wide = build_network(name, signature, options | {"width": options["width"] * factor}).double().eval()
    x = torch.randn(3, *signature.inputs, dtype=torch.float64)
    widening = widen(trace_graph(module, (x,)), factor)
    known = {n: t.detach()[None] for n, t in module.state_dict().items() if t.is_floating_point()}
    found = widening(known, Generator().manual_seed(1) if uneven else None)

    tensors = {n: t[0] for n, t in found.items()}
    assert {n: t.shape for n, t in tensors.items()} == {n: wide.state_dict()[n].shape for n in tensors}
    torch.testing.assert_close(functional_call(wide, tensors, (x,)), module(x), rtol=1e-9, atol=1e-9)
    assert set(trace_graph(wide, (x,)).blocks) == set(widening.graph.blocks)


def test_a_flattened_map_is_widened_slot_by_slot():
    def make(width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 9, 2)).double()

    module, x = make(3), torch.randn(2, 1, 5, 5, dtype=torch.float64, generator=Generator().manual_seed(0))
    widening = widen(trace_graph(module, (x,)), 2)
    found = widening({n: t.detach()[None] for n, t in module.state_dict().items()}, Generator().manual_seed(0))
    answers = functional_call(make(6), {n: t[0] for n, t in found.items()}, (x,))
    torch.testing.assert_close(answers, module(x))
    moved = {n: t[0].flip(-1) if n == "3.weight" else t[0] for n, t in found.items()}
    assert not functional_call(make(6), moved, (x,)).allclose(module(x))


def test_attention_is_not_widened():
    layer = build_network("vit_tiny", IMAGES, {"width": 8, "depth": 1, "heads": 2, "patch": 5, "activation": "gelu"})
    with pytest.raises(GraphError, match="need not answer alike after"):
        widen(trace_graph(layer.eval(), (torch.zeros(2, 1, 20, 20),)), 2)


def test_nothing_to_widen_is_said():
    with pytest.raises(GraphError, match="no hidden axis"):
        widen(trace_graph(nn.Linear(3, 2), (torch.zeros(2, 3),)), 2)
