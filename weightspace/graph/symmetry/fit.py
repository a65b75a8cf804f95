"""Which block of a graph each tensor of a checkpoint is."""

from __future__ import annotations

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import Block, ParameterGraph


def fit_blocks(checkpoint: Checkpoint, graph: ParameterGraph) -> dict[str, Block]:
    """Return the block of each tensor of `checkpoint` that lies in one, by the tensor's name.

    Tied tensors are found under any of their names.

    Raises:
        GraphError: A block has no tensor here, or one of another shape.
    """
    kept = {alias: name for alias, name in checkpoint.shared.items() if alias in graph.blocks}
    found = {}
    for name in checkpoint.tensors:
        names = [name, graph.shared.get(name, name), *(alias for alias, of in kept.items() if of == name)]
        block = next((graph.blocks[n] for n in names if n in graph.blocks), None)
        if block is not None:
            found[name] = _checked(checkpoint, graph, name, block)
    missing = sorted(set(graph.blocks) - {block.tensor for block in found.values()} - set(kept))
    if missing:
        raise GraphError(
            f"{checkpoint.source}: the graph has blocks {missing[:5]} ({len(missing)} in all) that the checkpoint does "
            f"not hold. Build the graph from this checkpoint: build_graph(checkpoint)."
        )
    return found


def _checked(checkpoint: Checkpoint, graph: ParameterGraph, name: str, block: Block) -> Block:
    expected, shape = tuple(map(graph.length, block.dims)), tuple(checkpoint.tensors[name].shape)
    if shape != expected:
        raise GraphError(
            f"{checkpoint.source}: tensor {name!r} has shape {shape}, its block in the graph {expected}. "
            f"Build the graph from this checkpoint: build_graph(checkpoint)."
        )
    return block
