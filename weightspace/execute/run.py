"""Checkpoints that carry their program, run one or many at once."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Shaped
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ArchitectureError
from weightspace.execute.module import to_module
from weightspace.execute.stack import run_stacked, stack_tensors


def run_checkpoints(
    checkpoints: Sequence[Checkpoint], inputs: Shaped[Tensor, "inputs ..."]
) -> Shaped[Tensor, "models inputs ..."]:
    """Return the outputs of networks of one architecture, all at once and in evaluation mode.

    One network is a stack of one. Differentiable in the inputs and in the tensors of the checkpoints.

    Args:
        checkpoints: With their program in the metadata, as `from_module` leaves it.
        inputs: Shared by all networks.

    Raises:
        ArchitectureError: There are no networks, they differ in architecture, or the first names no program.

    Example:
        >>> from torch import nn, ones
        >>> from weightspace.execute.module import from_module
        >>> net = nn.Linear(2, 1)
        >>> out = run_checkpoints([from_module(net, (ones(2, 2),))], ones(3, 2))
        >>> bool(out[0].allclose(net(ones(3, 2))))
        True
    """
    if not checkpoints:
        raise ArchitectureError("no networks to run: pass at least one.")
    first = checkpoints[0].metadata.get("architecture")
    other = [c.source for c in checkpoints if c.metadata.get("architecture") != first]
    if other:
        raise ArchitectureError(
            f"{other[0]}: its program is not that of {checkpoints[0].source}. Run one architecture at a time."
        )
    stacked = stack_tensors([c.tensors for c in checkpoints])
    return run_stacked(to_module(checkpoints[0]), stacked, inputs)
