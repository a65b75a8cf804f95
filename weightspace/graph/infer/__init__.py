"""A parameter graph from names and shapes alone."""

from weightspace.graph.infer.infer import infer_graph

__all__ = ["infer_graph"]
