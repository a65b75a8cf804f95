"""The best parameter graph that a checkpoint allows."""

from __future__ import annotations

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header import Header
from weightspace.errors import TraceError
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.infer.infer import infer_graph


def build_graph(checkpoint: Checkpoint | Header) -> ParameterGraph:
    """Return the graph traced from the stored program if the checkpoint carries one, else the inferred graph.

    `graph.source` says which. Inference may tie or fix more units than the network needs, never fewer.

    Raises:
        TraceError: `metadata["architecture"]` is there but is no program that can be read.
    """
    header = checkpoint if isinstance(checkpoint, Header) else checkpoint.header
    stored = header.metadata.get("architecture")
    if not stored:
        return infer_graph(header)
    from weightspace.graph.trace import Program, trace_program

    try:
        program = Program.from_json(stored)
    except ValueError as error:
        raise TraceError(
            f"metadata['architecture'] holds no readable program: {error}. Call infer_graph to do without it."
        ) from error
    return trace_program(program)
