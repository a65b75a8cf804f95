"""What networks answer to an encoder's probes, where their checkpoints say how they are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.execute.images_last import run_in_parts
from weightspace.execute.module import ProgramModule
from weightspace.execute.stack import run_stacked
from weightspace.graph.trace.program import Program
from weightspace.nn.probes import RANKS, ProbeBank


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs networks of one program; holds none of their weights.

    Args:
        module: Of the program; its own weights do not count.
        shape: Of one input.
    """

    module: nn.Module
    shape: tuple[int, ...]

    @torch.no_grad()
    def answer(self, probes: ProbeBank, weights: Mapping[str, Tensor]) -> Tensor | None:
        """Return what networks answer, `(models, probes, outputs)`; None where it is no row of numbers for each probe.

        Answers that are not finite count as 0. Several threads may ask at once.

        Args:
            probes: They, and the answers, are in their precision.
            weights: Every tensor of the networks with a leading `models` axis, where the probes are.
        """
        dtype = probes.image.dtype
        cast = {name: t.to(dtype) if t.is_floating_point() else t for name, t in weights.items()}
        module = _hollow(self.module.to(probes.image.device, dtype))
        found = run_networks(module, cast, probes(self.shape))
        return found.nan_to_num(posinf=0.0, neginf=0.0).to(dtype) if found.ndim == 3 else None


def find_runner(checkpoint: Checkpoint) -> Runner | None:
    """Return what runs networks like this one; None where it does not say how, or probes are no inputs for it.

    Raises:
        ArchitectureError: Its program does not fit its tensors.
    """
    text = checkpoint.metadata.get("architecture")
    program = None if text is None else Program.from_json(text)
    shape = None if program is None else input_shape(program)
    if program is None or shape is None:
        return None
    return Runner(_hollow(ProgramModule(program, checkpoint).eval()), shape)


def _hollow(module: nn.Module) -> nn.Module:
    """The module with zeros that take no memory in the place of its weights."""
    for tensor in module.state_dict(keep_vars=True).values():
        tensor.data = tensor.new_zeros(()).expand(tensor.shape)
    return module


def run_networks(module: nn.Module, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Return answers `(models, inputs, outputs)`, in single precision at least; accelerators run images in bfloat16.

    Rows of numbers are cheap, and the places that implicit networks take would lose too much: 0.03 of answers of 0.6.
    """
    if inputs.device.type == "cpu":
        found = run_in_parts(module, weights, inputs)
    elif inputs.ndim == 2:
        found = run_stacked(module, weights, inputs)
    else:
        weights = {name: t.bfloat16() if t.is_floating_point() else t for name, t in weights.items()}
        found = run_stacked(module, weights, inputs.bfloat16())
    return found.to(torch.promote_types(found.dtype, torch.float32))


def input_shape(program: Program) -> tuple[int, ...] | None:
    """Shape of one input of a network that probes fit; None where they don't.

    Probes are images or rows of numbers, and there must be one input with a batch and one output with a row of
    numbers for each input.
    """
    inputs = [slot for slot in program.slots if slot.role == "input"]
    fits = program.runs and len(inputs) == len(program.outputs) == 1 and inputs[0].batched and inputs[0].value.is_float
    shape = tuple(inputs[0].value.shape[1:]) if fits else ()
    return shape if len(shape) in RANKS else None
