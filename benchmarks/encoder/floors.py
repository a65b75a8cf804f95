"""What the work of an encoder costs at least on a device: reading the weights, and its products, back to back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.encoder.speed import seconds_of
from weightspace.encode.batch import Architecture
from weightspace.encode.encoder import Encoder
from weightspace.encode.plan import Plan
from weightspace.nn.cosines import kernel_cosines
from weightspace.nn.tiles import as_matrix

REPEATS = 4
COPIED, SIDE = {True: 1 << 22, False: 1 << 28}, {True: 512, False: 8192}
"""Numbers of the copy that tells the bandwidth, and the side of the product that tells the rate: on a CPU or not."""


def products(plan: Plan, weights: Mapping[str, Tensor], encoder: Encoder) -> Callable[[], None]:
    """Return what makes the products of an encoding, back to back, all factors ready in their precision."""
    config, ready = encoder.network.config, list[tuple[int, Tensor, Tensor]]()
    dtype = encoder.how.dtype or encoder.network.scale.dtype
    for edge in plan.edges:
        if edge.between:
            channels = len(kernel_cosines(edge.kernel)[0])
            matrix = as_matrix(weights[edge.tensor], edge.order, edge.sizes)[..., 0].to(dtype)
            for many, wide, turned in (
                (channels + 1, config.width, False),
                (channels + 1, config.width, True),
                (channels, config.signals, False),
            ):
                factor, times = (matrix.mT if turned else matrix), many
                if len(matrix) > 1:  # small ones: one product that is as long
                    factor, times = factor.repeat(1, 1, many), 1
                if wide:
                    ready.append((times, factor, factor.new_ones(len(factor), factor.shape[2], wide)))

    def multiply() -> None:
        for times, factor, states in ready:
            for _ in range(times):
                factor @ states

    return multiply


def floor_of_networks(encoder: Encoder, known: Architecture, weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Return seconds of reading small networks, of the products, and of running the networks if they are run.

    Args:
        encoder: Where the weights are.
        known: The architecture of the networks.
        weights: Every tensor with a leading `models` axis.
    """
    device, dtype = encoder.how.team.device, encoder.how.dtype or encoder.network.scale.dtype
    buffer = torch.ones(COPIED[device == "cpu"], device=device)
    copied = 2 * buffer.nbytes / least_seconds(buffer.clone, device)
    found = {"floor_reading": sum(tensor.nbytes for tensor in weights.values()) / copied}
    found["floor_products"] = least_seconds(products(known.plan, weights, encoder), device)
    if known.runner is not None:
        side = SIDE[device == "cpu"]
        square = torch.ones(side, side, device=device, dtype=dtype)
        rate = 2 * side**3 / least_seconds(lambda: square @ square, device)
        one = {name: tensor[:1] for name, tensor in weights.items()}
        known.runner.answer(encoder.network.probes, one)  # moves its module there
        with FlopCounterMode(display=False) as counter:
            known.runner.module(encoder.network.probes(known.runner.shape))
        models = len(next(iter(weights.values())))
        found["floor_running"] = models * counter.get_total_flops() / rate
    return found


def least_seconds(call: Callable[[], object], device: str) -> float:
    """Return the least seconds of a few calls."""
    return min(seconds_of(call, device, 1) for _ in range(REPEATS))
