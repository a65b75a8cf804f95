"""How alike two networks answer, where both say how they are run."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import WeightspaceError
from weightspace.execute.module import to_module
from weightspace.graph.trace.literals import Literals
from weightspace.graph.trace.program import Program, Value

INPUTS, SEED = 256, 0


@dataclass(frozen=True)
class Behaviour:
    """Answers of two networks to the same random inputs.

    Args:
        agreement: Share of inputs on which the largest output is the same; None if there is but one output.
        distance: Of the outputs, over the deviation of those of the first; None if the networks were not run.
        inputs: How many there were.
        reason: Why they were not run; empty if they were.
    """

    agreement: float | None
    distance: float | None
    inputs: int
    reason: str = ""


def compare_behaviour(a: Checkpoint, b: Checkpoint) -> Behaviour:
    """Run both on standard normal inputs drawn from a seed; say why not where that can't be done.

    The inputs are not the data that the networks were trained on, so agreement there may be lower or higher.
    """
    lacking = [c.source for c in (a, b) if not c.metadata.get("architecture")]
    if lacking:
        return Behaviour(None, None, 0, f"{lacking[0]} does not say how it is run (no program in its metadata)")
    try:
        first, second = (_answers(c) for c in (a, b))
    except (WeightspaceError, RuntimeError) as error:
        return Behaviour(None, None, 0, " ".join(str(error).split()))
    if first.shape != second.shape:
        return Behaviour(None, None, 0, f"outputs of shape {tuple(first.shape)} and {tuple(second.shape)}")
    spread = float((first - first.mean(0)).norm()) or 1.0
    many = first.ndim == 2 and first.shape[1] > 1
    agreement = float((first.argmax(1) == second.argmax(1)).double().mean()) if many else None
    return Behaviour(agreement, float((first - second).norm()) / spread, len(first))


def _answers(checkpoint: Checkpoint) -> Tensor:
    single = {n: t.float() if t.is_floating_point() else t for n, t in checkpoint.tensors.items()}
    program = Program.from_json(checkpoint.metadata["architecture"])
    generator = Generator().manual_seed(SEED)
    inputs = [_draw(slot.value, slot.batched, generator) for slot in program.slots if slot.role == "input"]
    with torch.no_grad():
        found = to_module(replace(checkpoint, tensors=single))(*inputs)
    return (found[0] if isinstance(found, tuple) else found).double()


def _draw(value: Value, batched: bool, generator: Generator) -> Tensor:
    shape, dtype = value.shape, Literals.dtypes[value.dtype]
    shape = (INPUTS, *shape[1:]) if batched else tuple(shape)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)
