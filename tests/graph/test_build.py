"""The stored program wins over names and shapes; without one the graph is inferred."""

import pytest
import torch

from tests.architectures import ARCHITECTURES
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ArchitectureError
from weightspace.graph.build import build_graph
from weightspace.graph.trace.capture import capture_program


def test_a_stored_program_is_traced_and_a_bare_state_inferred():
    architecture = ARCHITECTURES["mlp"]
    module = architecture.build(**architecture.sizes).eval()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    stored = capture_program(module, architecture.inputs(architecture.sizes)).to_json()
    traced, inferred = build_graph(Checkpoint(state, {"architecture": stored})), build_graph(Checkpoint(state))
    assert (traced.source, inferred.source) == ("trace", "infer")
    assert traced.free_units == inferred.free_units == 13


def test_a_broken_program_is_a_named_error():
    with pytest.raises(ArchitectureError):
        build_graph(Checkpoint({"weight": torch.ones(2, 2)}, {"architecture": "{}"}))
