"""What networks answer to test inputs: all that measures of behaviour need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor, nn

from weightspace.errors import AuditError
from weightspace.execute.pieces import run_in_pieces


@dataclass(frozen=True, eq=False)
class Answers:
    """Classes that networks name.

    Args:
        chosen: The class each names for each input.
        labels: The right ones.
        runs: Which training each network is of; networks of one run are not new to each other.
    """

    chosen: UInt8[Tensor, "models inputs"]
    labels: UInt8[Tensor, " inputs"]
    runs: np.ndarray

    def __post_init__(self) -> None:
        if len(self.runs) != len(self.chosen) or self.chosen.shape[1] != len(self.labels) or not len(self.chosen):
            raise AuditError(
                f"answers of {tuple(self.chosen.shape)} (networks, inputs) do not go with {len(self.labels)} labels "
                f"and {len(self.runs)} runs; there must be one network at least."
            )

    def __len__(self) -> int:
        return len(self.chosen)

    @cached_property
    def wrong(self) -> Float[Tensor, "models inputs"]:
        """1 where the answer is wrong."""
        return (self.chosen != self.labels).float()

    @cached_property
    def accuracy(self) -> np.ndarray:
        """Share of right answers of each network."""
        return 1 - self.wrong.mean(1).double().numpy()

    def take(self, rows: np.ndarray | Sequence[int]) -> Answers:
        """Return some of the networks."""
        where = np.asarray(rows)
        where = np.flatnonzero(where) if where.dtype == bool else where.astype(np.int64)
        return Answers(self.chosen[torch.from_numpy(where)], self.labels, self.runs[where])


def join_answers(parts: Iterable[Answers]) -> Answers:
    """Return the networks of all parts, in order; a `AuditError` where they answer other inputs."""
    found = list(parts)
    if any(not torch.equal(part.labels, found[0].labels) for part in found):
        raise AuditError("answers are to different inputs; ask all networks the same.")
    return Answers(torch.cat([p.chosen for p in found]), found[0].labels, np.concatenate([p.runs for p in found]))


def own_runs(name: str, count: int) -> np.ndarray:
    """Return a run of its own for each of so many networks."""
    return np.array([f"{name} {i}" for i in range(count)], object)


def answer(
    module: nn.Module,
    stacked: Mapping[str, Tensor],
    inputs: Float[Tensor, "inputs ..."],
    labels: Integer[Tensor, " inputs"],
    runs: np.ndarray,
) -> Answers:
    """Return what each network of a stack answers, run where the inputs lie.

    Raises:
        AuditError: A network answers with numbers that are not finite.
    """
    single = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stacked.items()}
    chosen = run_in_pieces(module.to(inputs.device).eval(), single, inputs, _choose).cpu()
    lost = (chosen < 0).any(1)
    if lost.any():
        raise AuditError(f"network {int(lost.nonzero()[0])} answers with numbers that are not finite.")
    return Answers(chosen.to(torch.uint8), labels.to(torch.uint8).cpu(), runs)


def _choose(logits: Tensor) -> Tensor:
    """The class of each answer; -1 where it is not finite."""
    return torch.where(logits.isfinite().all(2), logits.argmax(2), -1).short()
