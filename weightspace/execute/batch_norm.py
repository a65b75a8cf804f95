"""Running statistics of batch norms, measured again by forward passes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import ArchitectureError
from weightspace.execute.module import ProgramModule
from weightspace.execute.stack import Stacked, run_stacked
from weightspace.graph.trace.literals import Ref
from weightspace.graph.trace.program import Program

_NORM, _MEASURING = "aten._native_batch_norm_legit_no_training.default", "aten._native_batch_norm_legit.no_stats"


@torch.no_grad()
def reestimate_batch_norm(module: nn.Module, stacked: Stacked, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return `stacked` with the running mean and variance of every batch norm measured on `batches`.

    Statistics belong to the weights: after merging, pruning or decoding, the stored ones are wrong. Mean and variance
    are the means of the batches' own, as `torch.optim.swa_utils.update_bn` leaves them in one network.

    Args:
        module: The architecture; unchanged.
        stacked: Tensors with a leading `models` axis; unchanged.
        batches: Inputs shared by all networks, of equal size, large enough for a variance (hundreds).

    Raises:
        ArchitectureError: There are no batches.

    Source: Izmailov et al. (2018), "Averaging weights leads to wider optima and better generalization", section 3.2.
    """
    module, stacked = copy.deepcopy(module).train(), {name: tensor.clone() for name, tensor in stacked.items()}
    norms = {n: m for n, m in module.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats}
    for norm in norms.values():
        norm.momentum = 1.0  # each pass leaves the statistics of its own batch
    keys = [f"{name}.{kind}" for name in norms for kind in ("running_mean", "running_var")]
    sums = {key: torch.zeros_like(stacked[key], dtype=torch.float64) for key in keys}
    count = 0
    for batch in batches:
        run_stacked(module, stacked, batch)
        sums = {key: total + stacked[key] for key, total in sums.items()}
        count += 1
    if norms and not count:
        raise ArchitectureError("no inputs to measure batch norm statistics on: pass at least one batch.")
    for key, total in sums.items():
        stacked[key] = (total / count).to(stacked[key].dtype)
    for name in norms:
        stacked[f"{name}.num_batches_tracked"].fill_(count)
    return stacked


@torch.no_grad()
def measure_batch_norm(program: Program, tensors: Mapping[str, Tensor], batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the tensors of one network with running statistics measured on `batches`, from its program alone.

    As `reestimate_batch_norm`, but a batch counts as it has inputs, and variances are not corrected for its size.

    Raises:
        ArchitectureError: The program has batch norms and there are no batches.
    """
    norms = {node.name: node for node in program.nodes if node.op == _NORM}
    if not norms:
        return dict(tensors)
    nodes = tuple(
        replace(node, op=_MEASURING, args=(*node.args[:3], True, *node.args[5:])) if node.name in norms else node
        for node in program.nodes
    )
    outputs = tuple(Ref(name, item) for name in norms for item in (1, 2))
    module = ProgramModule(replace(program, nodes=nodes, outputs=outputs, updates={}), Checkpoint(tensors))
    found, counts = [], []
    for batch in batches:
        found.append(module(batch))
        counts.append(len(batch))
    if not found:
        raise ArchitectureError("no inputs to measure batch norm statistics on: pass at least one batch.")
    targets, measured = {slot.name: slot.target for slot in program.slots}, dict(tensors)
    share = torch.tensor(counts)[:, None] / sum(counts)
    for i, node in enumerate(norms.values()):
        means, scales = (torch.stack([told[2 * i + item].flatten() for told in found]) for item in (0, 1))
        measured[targets[node.args[3].name]] = (share.to(means) * means).sum(0)
        variances = (scales**-2 - node.args[6]).clamp_min(0)
        measured[targets[node.args[4].name]] = (share.to(means) * variances).sum(0)
    return measured
