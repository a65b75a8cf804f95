"""What networks answer to an encoder's probes, where their checkpoints say how they are run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.execute.module import to_module
from weightspace.execute.stack import run_stacked, stack_tensors
from weightspace.graph.trace.program import Program
from weightspace.nn.probes import RANKS, ProbeBank


def run_networks(module: nn.Module, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Return answers `(models, inputs, outputs)`, in single precision at least; accelerators run in bfloat16."""
    if inputs.device.type != "cpu":
        weights = {name: t.bfloat16() if t.is_floating_point() else t for name, t in weights.items()}
        inputs = inputs.bfloat16()
    found = run_stacked(module, weights, inputs)
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


@torch.no_grad()
def answer_probes(probes: ProbeBank, checkpoints: list[Checkpoint]) -> Tensor | None:
    """Return what networks of one program answer, `(models, probes, outputs)`, or None where they can't be asked.

    Answers that are not finite count as 0.
    """
    text = checkpoints[0].metadata.get("architecture")
    shape = None if text is None else input_shape(Program.from_json(text))
    if shape is None:
        return None
    stacked = stack_tensors([checkpoint.tensors for checkpoint in checkpoints])
    dtype = probes.image.dtype
    weights = {name: t.to(dtype) if t.is_floating_point() else t for name, t in stacked.items()}
    found = run_networks(to_module(checkpoints[0]).to(dtype), weights, probes(shape))
    return found.nan_to_num(posinf=0.0, neginf=0.0).to(dtype) if found.ndim == 3 else None
