"""A stored program is the module's own operations, and hostile text is refused by name."""

import json

import pytest
import torch
from torch import nn

from tests.architectures import ARCHITECTURES
from weightspace.errors import ArchitectureError, TraceError
from weightspace.graph.trace import capture_program, trace_graph, trace_program
from weightspace.graph.trace.literals import pack, unpack
from weightspace.graph.trace.program import Program, operator_of


@pytest.fixture(scope="module")
def program():
    return capture_program(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (torch.zeros(2, 3),))


@pytest.mark.parametrize("name", ["mlp", "gpt"])
def test_text_is_the_exact_inverse_and_traces_without_the_module(name):
    architecture = ARCHITECTURES[name]
    module, args = architecture.build(**architecture.sizes), architecture.inputs(architecture.sizes)
    captured = capture_program(module, args)
    read = Program.from_json(captured.to_json())
    assert read == captured
    assert trace_program(read) == trace_graph(module, args)


def test_capture_changes_nothing_and_keeps_ties():
    architecture = ARCHITECTURES["gpt"]
    module = architecture.build(**architecture.sizes)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    captured = capture_program(module, architecture.inputs(architecture.sizes))
    assert module.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert dict(captured.shared) == {"lm_head.weight": "transformer.wte.weight"}
    assert "lm_head.weight" not in {slot.target for slot in captured.slots}


def test_a_module_on_the_meta_device_traces_alike():
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    graph = trace_graph(module, (torch.zeros(2, 3),))
    assert graph.free_units == 4
    assert graph == trace_graph(module.to_empty(device="cpu"), (torch.zeros(2, 3),))


def test_frozen_weights_trace_alike():
    architecture = ARCHITECTURES["transformer_encoder"]
    module, args = architecture.build(**architecture.sizes), architecture.inputs(architecture.sizes)
    free = trace_graph(module, args)
    assert trace_graph(module.eval().requires_grad_(False), args) == free


def test_a_wrapped_module_is_unwrapped():
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert trace_graph(nn.DataParallel(inner), (torch.zeros(2, 3),)) == trace_graph(inner, (torch.zeros(2, 3),))


def test_branching_on_values_is_named():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3)

        def forward(self, x):
            return self.a(x) if x.sum() > 0 else x

    with pytest.raises(TraceError, match=r"(?s)Branches can't be exported.*infer_graph"):
        capture_program(Branches(), (torch.zeros(2, 3),))


@pytest.mark.parametrize(
    "name",
    [
        "aten.relu_.default",  # writes into its argument
        "aten.no_such.default",
        "prims.add.default",
        "os.system.default",
        "aten.__class__.default",
        "aten.relu.__globals__",
        "relu",
    ],
)
def test_operators_outside_of_the_list_are_refused(name):
    with pytest.raises(ArchitectureError, match="program: "):
        operator_of(name)


def _with(program, change):
    found = json.loads(program.to_json())
    change(found)
    return json.dumps(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(format="other"),
        lambda p: p["nodes"][0].__setitem__(1, "aten.relu_.default"),
        lambda p: p["nodes"].reverse(),
        lambda p: p["nodes"][0].__setitem__(0, p["nodes"][1][0]),
        lambda p: p["nodes"][0].__setitem__(2, [{"ref": "nowhere"}]),
        lambda p: p["nodes"][0].__setitem__(2, [{"eval": "1"}]),
        lambda p: p["nodes"][0].__setitem__(4, [[[2**50, 2**50], "float32"]]),
        lambda p: p["nodes"][0].__setitem__(4, [[[-1], "float32"]]),
        lambda p: p["nodes"][0].__setitem__(4, [[[1], "object"]]),
        lambda p: p["slots"][0].__setitem__(1, "secret"),
        lambda p: p["slots"][0].__setitem__(2, 7),
        lambda p: p["slots"].clear(),
        lambda p: p.update(outputs=[3]),
        lambda p: p.pop("nodes"),
    ],
)
def test_hostile_text_is_a_named_error(program, change):
    with pytest.raises(ArchitectureError, match="program: "):
        Program.from_json(_with(program, change))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"format": 1}'])
def test_what_is_no_program_is_a_named_error(text):
    with pytest.raises(ArchitectureError, match="program: "):
        Program.from_json(text)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int64, torch.bfloat16])
def test_constants_keep_every_bit(dtype):
    tensor = (torch.arange(12).reshape(3, 4) % 2).to(dtype)
    found = unpack(pack(tensor), (3, 4), str(dtype).removeprefix("torch."))
    assert found.dtype == dtype and torch.equal(found, tensor)


@pytest.mark.parametrize("text", ["?", "", pack(torch.zeros(11)), pack(torch.zeros(1_000_000))])
def test_a_constant_of_another_size_is_refused(text):
    with pytest.raises(ArchitectureError, match="does not hold"):
        unpack(text, (3, 4), "float32")
