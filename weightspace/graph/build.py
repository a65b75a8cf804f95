"""The best parameter graph that a checkpoint allows."""

from __future__ import annotations

import logging

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.header import Header
from weightspace.errors import ArchitectureError
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.infer import infer_graph

_log = logging.getLogger("weightspace.graph")


def build_graph(checkpoint: Checkpoint | Header) -> ParameterGraph:
    """Return the graph traced from the stored program if the checkpoint carries one, else the inferred graph.

    A checkpoint of a folder or hub repository with the `config.json` of a transformers model is traced too, where the
    extra `transformers` is installed and its model has these very tensors; why not is logged (`weightspace.graph`, at
    level INFO). `graph.source` says which. Inference may tie or fix more units than the network needs, never fewer.

    Raises:
        ArchitectureError: `metadata["architecture"]` is there but is no program; `infer_graph` does without it.
    """
    header = checkpoint if isinstance(checkpoint, Header) else checkpoint.header
    stored = header.metadata.get("architecture")
    if stored:
        from weightspace.graph.trace import trace_program
        from weightspace.graph.trace.program import Program

        return trace_program(Program.from_json(stored))
    if "model_type" in header.metadata.get("config", ""):
        from weightspace.graph.config import config_graph

        try:
            return config_graph(header)
        except ArchitectureError as error:
            _log.info("the graph is inferred from names and shapes, not traced from config.json: %s", error)
    return infer_graph(header)
