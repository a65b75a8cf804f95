"""Checkpoints of one architecture, stacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Bool
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.answers import Runner, find_runner
from weightspace.encode.plan import Plan, compile_plan
from weightspace.errors import EncoderError
from weightspace.execute.processes import ALONE, Team
from weightspace.execute.threads import side_by_side
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.build import build_graph
from weightspace.nn.tiles import is_streamed, pieces

Signature = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class Architecture:
    """What checkpoints that are encoded together have in common.

    Args:
        graph: Theirs.
        plan: Of the graph.
        runner: Runs them on probes; None where they are not to be run, can't be, or take inputs that no probe is.
    """

    graph: ParameterGraph
    plan: Plan
    runner: Runner | None


def signature(checkpoint: Checkpoint) -> Signature:
    """What two checkpoints must have in common to be encoded together: tensors, ties, program, configuration."""
    header = checkpoint.header
    infos = tuple((info.name, info.dtype, info.shape) for info in header.tensors.values())
    return infos, tuple(header.shared.items()), header.metadata.get("architecture"), header.metadata.get("config")


class Architectures:
    """Plans by signature, the latest ones kept.

    Args:
        kept: How many.
        run: Whether networks will be run.
    """

    def __init__(self, kept: int = 64, *, run: bool = False) -> None:
        self._kept, self._run, self._found = kept, run, dict[Signature, Architecture]()

    def of(self, checkpoint: Checkpoint) -> Architecture:
        """Return the architecture of a checkpoint.

        Raises:
            EncoderError: It holds no weight.
        """
        key = signature(checkpoint)
        if key not in self._found:
            if not checkpoint.header.weights:
                raise EncoderError(
                    f"{checkpoint.source}: none of its {len(checkpoint.tensors)} tensors holds a real number, "
                    "so there is nothing to embed. Is this the file with the weights?"
                )
            graph = build_graph(checkpoint)
            while len(self._found) >= self._kept:
                del self._found[next(iter(self._found))]
            self._found[key] = Architecture(graph, compile_plan(graph), find_runner(checkpoint) if self._run else None)
        return self._found[key]


def stack(plan: Plan, checkpoints: list[Checkpoint], team: Team = ALONE) -> tuple[dict[str, Tensor], Tensor]:
    """Return each tensor of the plan with a leading axis of models, and how many weights of each model are not finite.

    Those are zero in what comes back. Tensors of more than a tile are not looked at: they are cleaned tile by tile as
    they are read (see `count_flawed`), and stay where they are (mapped, if they come from a file) on a CPU. Each
    process of a team looks through some of the tensors.
    """
    mine = {plan.edges[i].tensor for i in team.deal([float(prod(edge.sizes)) for edge in plan.edges])}
    lost, stacked = torch.zeros(len(checkpoints), dtype=torch.long), {}
    for edge in plan.edges:
        tensors = [readable(c.tensors[edge.tensor]) for c in checkpoints]
        whole = (tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)).to(team.device)
        found = torch.zeros_like(lost)
        if is_streamed(whole):
            whole = whole.contiguous()  # a mapped one is; what is read off in passes starts where memory does
        elif not torch.isfinite(whole.sum(dtype=torch.float64)):
            bad = ~torch.isfinite(whole)
            found = bad.flatten(1).sum(1).cpu()
            whole = torch.where(bad, torch.zeros_like(whole), whole)
        stacked[edge.tensor] = whole
        lost += found if edge.tensor in mine else 0
    return stacked, team.add_up(lost)


def count_flawed(plan: Plan, stacked: Mapping[str, Tensor], flawed: Bool[Tensor, "models edges"]) -> Tensor:
    """Return how many weights of each model are not finite in tensors of more than a tile, `(models,)`.

    Args:
        plan: Of the models.
        stacked: Their tensors, see `stack`.
        flawed: Blocks that may hold such weights, as an encoding tells.
    """
    edges = [plan.edges[i] for i in flawed.any(0).nonzero().flatten().tolist()]
    found = side_by_side(_not_finite, [stacked[edge.tensor] for edge in edges])
    return sum(found, torch.zeros(len(flawed), dtype=torch.long))


def readable(tensor: Tensor) -> Tensor:
    """The tensor in a dtype that can be stacked and sorted: eight-bit floats as float32, unless they are streamed."""
    return tensor.float() if tensor.element_size() == 1 and not is_streamed(tensor[None]) else tensor


def _not_finite(whole: Tensor) -> Tensor:
    """How many numbers of each model are not finite; counts only the pieces whose sum is not."""
    lost = torch.zeros(len(whole), dtype=torch.long)
    for i, model in enumerate(whole):
        for piece in pieces(model):
            piece = piece.float() if piece.element_size() == 1 else piece
            if not torch.isfinite(piece.sum()):
                lost[i] += (~torch.isfinite(piece)).sum().cpu()
    return lost
