"""Networks of one architecture, encoded together in pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.batch import Architecture, count_flawed, stack
from weightspace.encode.network import Encoding
from weightspace.errors import DeviceMemoryError
from weightspace.execute.pieces import free_memory, in_pieces
from weightspace.execute.processes import Team
from weightspace.execute.stack import stack_tensors
from weightspace.execute.threads import one_thread, side_by_side, spare_threads
from weightspace.nn.tiles import halved

if TYPE_CHECKING:
    from weightspace.encode.encoder import Encoder

T = TypeVar("T")
TOGETHER = 1 << 22
"""Weights that are encoded at once on a CPU, about; an accelerator takes `BROAD` times as many."""
BROAD = 16
WORTH = 1 << 18
"""Weights from which a piece is worth a thread of its own."""
HALVINGS = 10
"""How often tiles are cut in half before a device counts as too small."""


@torch.no_grad()
def encode_networks(encoder: Encoder, known: Architecture, weights: Mapping[str, Tensor]) -> Encoding:
    """Return what an encoder says of networks that are stacked already, as of their checkpoints.

    Args:
        encoder: It runs the networks where it can.
        known: Their architecture.
        weights: Every tensor with a leading `models` axis, finite.
    """
    device, models = encoder.how.team.device, len(next(iter(weights.values())))
    size = max(1, sum(tensor[0].numel() for tensor in weights.values()))

    def encode(some: slice) -> Encoding:
        part = {name: tensor[some].to(device) for name, tensor in weights.items()}
        return _encode(encoder, known, part, part)

    most = TOGETHER * (1 if device == "cpu" else BROAD) // size
    return join_encodings(_spread(encode, models, size, most, device))


@torch.no_grad()
def encode_checkpoints(
    encoder: Encoder, known: Architecture, checkpoints: Sequence[Checkpoint]
) -> tuple[Encoding, list[int]]:
    """Return what an encoder says of checkpoints, and how many weights of each are not finite.

    Raises:
        DeviceMemoryError: One does not fit on the device, however small its tiles.
    """

    def encode(some: slice) -> tuple[Encoding, list[int]]:
        return _within_memory(
            encoder, checkpoints[some], lambda: _encode_checkpoints(encoder, known, checkpoints[some])
        )

    models, size = len(checkpoints), checkpoints[0].header.weights
    parts = _spread(encode, models, size, models, encoder.how.team.device)
    return join_encodings([found for found, _ in parts]), [count for _, lost in parts for count in lost]


def join_encodings(parts: Sequence[Encoding]) -> Encoding:
    """Return the networks of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    units = {name: torch.cat([part.units[name] for part in parts]) for name in parts[0].units}
    told = {name: torch.cat([getattr(part, name) for part in parts]) for name in ("vector", "stages", "flawed")}
    return Encoding(units=units, **told)


def _spread(encode: Callable[[slice], T], models: int, size: int, most: int, device: str) -> list[T]:
    """Encode models of a size in pieces of at most so many, as many threads of a CPU at once as have enough to do."""

    def encode_share(share: range) -> list[T]:
        first = share.start
        return in_pieces(lambda some: encode(slice(first + some.start, first + some.stop)), len(share), most)

    with one_thread() if device == "cpu" else nullcontext():
        count = max(1, min(spare_threads(), models, models * size // WORTH))
        shares = [Team(rank, count).part(range(models)) for rank in range(count)]
        return [found for share in side_by_side(encode_share, shares) for found in share]


def _within_memory(encoder: Encoder, checkpoints: Sequence[Checkpoint], make: Callable[[], T]) -> T:
    """Encode; one checkpoint with tiles as small as it takes, unless others share them."""
    team = encoder.how.team
    for times in range(HALVINGS if team.world == len(checkpoints) == 1 else 1):
        try:
            with halved(times):
                return make()
        except torch.OutOfMemoryError:
            if len(checkpoints) > 1:
                raise
        free_memory()
    raise DeviceMemoryError(
        f"{checkpoints[0].source}: does not fit in the memory of {team.device}, not even alone and in small tiles. "
        "Encode it on the CPU, where it is read from its file tile by tile, or free memory on the device."
    )


def _encode_checkpoints(
    encoder: Encoder, known: Architecture, checkpoints: Sequence[Checkpoint]
) -> tuple[Encoding, list[int]]:
    weights, lost = stack(known.plan, list(checkpoints), encoder.how.team)
    every = {} if known.runner is None else stack_tensors([c.tensors for c in checkpoints])
    found = _encode(encoder, known, weights, every)
    return found, (lost + count_flawed(known.plan, weights, found.flawed)).tolist()


def _encode(
    encoder: Encoder, known: Architecture, weights: Mapping[str, Tensor], every: Mapping[str, Tensor]
) -> Encoding:
    """Encode networks; `every` is what it takes to run them, where they are run."""
    answers, device = None, encoder.how.team.device
    if known.runner is not None:
        answers = known.runner.answer(encoder.network.probes, {name: t.to(device) for name, t in every.items()})
    return _on_cpu(encoder.network(known.plan, weights, answers, encoder.how))


def _on_cpu(found: Encoding) -> Encoding:
    units = {name: h.cpu() for name, h in found.units.items()}
    return Encoding(found.vector.cpu(), units, found.stages.cpu(), found.flawed.cpu())
