"""The best parameter graph that a checkpoint allows."""

from __future__ import annotations

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header import Header
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.infer import infer_graph


def build_graph(checkpoint: Checkpoint | Header) -> ParameterGraph:
    """Return the graph traced from the stored program if the checkpoint carries one, else the inferred graph.

    `graph.source` says which. Inference may tie or fix more units than the network needs, never fewer.

    Raises:
        ArchitectureError: `metadata["architecture"]` is there but is no program; `infer_graph` does without it.
    """
    header = checkpoint if isinstance(checkpoint, Header) else checkpoint.header
    stored = header.metadata.get("architecture")
    if not stored:
        return infer_graph(header)
    from weightspace.graph.trace import trace_program
    from weightspace.graph.trace.program import Program

    return trace_program(Program.from_json(stored))
