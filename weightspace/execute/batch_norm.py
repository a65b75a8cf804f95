"""Running statistics of batch norms, measured again by forward passes."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from weightspace.errors import ArchitectureError
from weightspace.execute.stack import Stacked, run_stacked


@torch.no_grad()
def reestimate_batch_norm(module: nn.Module, stacked: Stacked, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return `stacked` with the running mean and variance of every batch norm measured on `batches`.

    Statistics belong to the weights: after merging, pruning or decoding, the stored ones are wrong. The mean is that of
    the batches' means, the variance that of all inputs together, `mean(var + mean^2) - mean(mean)^2`.

    Args:
        module: The architecture; unchanged.
        stacked: Tensors with a leading `models` axis; unchanged.
        batches: Inputs shared by all networks, of equal size, large enough for a variance (hundreds).

    Raises:
        ArchitectureError: There are no batches.

    Source: Izmailov et al. (2018), "Averaging weights leads to wider optima and better generalization", section 3.2.
    """
    module, stacked = copy.deepcopy(module).train(), {name: tensor.clone() for name, tensor in stacked.items()}
    norms = [n for n, m in module.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for name in norms:
        module.get_submodule(name).momentum = 1.0  # each pass leaves the statistics of its own batch
    sums: dict[str, Tensor] = {}
    count = 0
    for count, batch in enumerate(batches, start=1):  # noqa: B007
        run_stacked(module, stacked, batch)
        for name in norms:
            mean, var = stacked[f"{name}.running_mean"], stacked[f"{name}.running_var"]
            for key, value in ((f"{name}.running_mean", mean), (f"{name}.running_var", var + mean**2)):
                sums[key] = sums.get(key, 0) + value.double()
    if norms and not count:
        raise ArchitectureError("no inputs to measure batch norm statistics on: pass at least one batch.")
    for name in norms:
        mean = sums[f"{name}.running_mean"] / count
        stacked[f"{name}.running_mean"] = mean.to(stacked[f"{name}.running_mean"].dtype)
        var = sums[f"{name}.running_var"] / count - mean**2
        stacked[f"{name}.running_var"] = var.to(stacked[f"{name}.running_var"].dtype)
    return stacked
