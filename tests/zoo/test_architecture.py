"""One text names one architecture: a family with options, a population, or a file that carries its program."""

import pytest
import torch

from weightspace.errors import ArchitectureError
from weightspace.execute.module import from_module
from weightspace.graph.trace.capture import capture_program
from weightspace.zoo.architecture import architecture_of
from weightspace.zoo.families import build_network
from weightspace.zoo.families.signature import Signature

SMALL = "smallcnn:width=4,activation=tanh,inputs=1x16x16,classes=3"


def shapes(program):
    return {slot.target: slot.value.shape for slot in program.slots if slot.role == "parameter"}


def test_a_family_with_options_is_its_network():
    module = build_network("smallcnn", Signature((1, 16, 16), 3), {"width": 4, "activation": "tanh"})
    program = architecture_of(SMALL)
    assert program.to_json() == capture_program(module, (torch.zeros(2, 1, 16, 16),)).to_json()
    assert architecture_of(SMALL.replace("tanh", "relu")).to_json() != program.to_json()


def test_inputs_and_classes_can_come_from_elsewhere_and_are_overruled():
    signature = Signature((1, 20, 20), 5)
    assert shapes(architecture_of("mlp:width=2,depth=1", signature=signature))["layers.0.weight"] == (2, 400)
    assert shapes(architecture_of("mlp:width=2,depth=1,inputs=9", signature=signature))["layers.0.weight"] == (2, 9)


def test_lists_of_layers_are_read():
    options = "depth=2,channels=[3,4],kernels=[3,1],activations=[relu,tanh],skips=[-1,-1]"
    found = shapes(architecture_of(f"wildpark:{options},inputs=1x8x8,classes=2"))
    assert found["layers.1.weight"] == (4, 3, 1, 1)


def test_a_population_names_its_architectures():
    with pytest.raises(ArchitectureError, match=r"07b94f559ab1 \(mlp activation=tanh depth=2 width=16\)"):
        architecture_of("mlp_digits")
    assert shapes(architecture_of("mlp_digits:07b94f559ab1"))["layers.0.weight"] == (16, 64)


def test_a_file_that_carries_its_program_is_read(tmp_path):
    module = torch.nn.Linear(3, 2)
    from_module(module, (torch.zeros(1, 3),)).save(tmp_path / "a.safetensors")
    assert shapes(architecture_of(tmp_path / "a.safetensors")) == {"weight": (2, 3), "bias": (2,)}


@pytest.mark.parametrize(
    "text, said",
    [
        ("nothing", "is no architecture: name a checkpoint file, a population"),
        ("mlp:width=3", "does not say inputs and classes"),
        ("mlp:width=3,inputs=4,classes=0", "does not say inputs and classes"),
        ("mlp:width=3,inputs=axb,classes=2", "whole numbers"),
        ("mlp:width=0,inputs=4,classes=2", "width=0 does not fit; mlp takes"),
        ("mlp:wide=3,inputs=4,classes=2", "wide=3 does not fit; mlp takes"),
        ("mlp:width,inputs=4,classes=2", "width=None does not fit"),
        ("mlp:[}", "options are key=value"),
        ("smallcnn:inputs=1x8x8,classes=2", "at least 15 x 15 pixels"),
        ("mlp_digits:beef", "none is 'beef'"),
    ],
)
def test_what_names_nothing_is_told(text, said):
    with pytest.raises(ArchitectureError, match=said):
        architecture_of(text)


def test_a_file_without_a_program_is_told(tmp_path):
    from weightspace.checkpoint.checkpoint import Checkpoint

    Checkpoint({"w": torch.zeros(2)}).save(tmp_path / "a.safetensors")
    with pytest.raises(ArchitectureError, match="holds no 'architecture'"):
        architecture_of(tmp_path / "a.safetensors")
