"""One scale of the hidden units for all rescalings of a network."""

from __future__ import annotations

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.symmetry.fit import fit_blocks
from weightspace.graph.symmetry.orders import parent_sizes
from weightspace.graph.symmetry.rescale import rescale
from weightspace.graph.symmetry.scales import Rescalings


def balance(checkpoint: Checkpoint, graph: ParameterGraph) -> Checkpoint:
    """Rescale units until what makes each of them is as large as what reads it; the function stays.

    Of all networks that positive factors make of each other (see `rescale`) the result has the least sum of squared
    weights, and it is the same for all of them up to rounding: for factors `c` of the units, writers `w` and readers
    `r`, `sum c^2 |w|^2 + |r|^2 / c^2` is least where both parts are equal, unit by unit, and as a function of the
    logarithms of all factors it is convex, whatever powers of them meet in a number. Units that nothing makes or
    nothing reads stay as they are.

    Args:
        checkpoint: The weights.
        graph: Traced; one that comes from names alone shows no activation, so nothing can be rescaled.

    Raises:
        GraphError: The graph does not fit the checkpoint.

    Source:
        Neyshabur et al. (2015), "Path-SGD", section 2 (balanced networks); Du, Hu, Lee (2018), "Algorithmic
        regularization in learning deep homogeneous models", on why training keeps networks near to balance.
    """
    rescalings = Rescalings.of(graph)
    blocks = fit_blocks(checkpoint, graph)
    weights = {block.tensor: checkpoint.tensors[name][None] for name, block in blocks.items()}
    logs = rescalings.settle(rescalings.energies(weights))
    sizes = {axis: (*parent_sizes(graph, axis), graph.axes[axis].size) for axis in logs}
    return rescale(checkpoint, graph, {axis: log[0].exp().reshape(sizes[axis]) for axis, log in logs.items()})
