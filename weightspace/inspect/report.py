"""What a checkpoint is, told from its header alone. Knows no torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from weightspace.checkpoint.header import Header
from weightspace.graph.axes import Axis, ParameterGraph


@dataclass(frozen=True)
class Report:
    """A checkpoint's header beside the graph inferred from it.

    Args:
        source: The path or hub id it was read from.
        header: Names, shapes and dtypes.
        graph: Its axes and blocks.
    """

    source: str
    header: Header
    graph: ParameterGraph

    @property
    def dtypes(self) -> dict[str, int]:
        """How many tensors each dtype has, the commonest first."""
        return dict(Counter(info.dtype for info in self.header.tensors.values()).most_common())

    @property
    def opaque(self) -> dict[str, str]:
        """Tensors that are not understood, by name, each with the reason."""
        return {name: "; ".join(self.graph.obstacles(self.graph.blocks[name])) for name in self.graph.opaque}

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON's types; keys are stable."""
        graph = self.graph
        return {
            "path": self.source,
            "tensors": len(self.header.tensors),
            "weights": self.header.weights,
            "dtypes": self.dtypes,
            "understood": graph.understood,
            "units": graph.units,
            "free_units": graph.free_units,
            "graph_source": graph.source,
            "metadata": dict(self.header.metadata),
            "shared": dict(self.header.shared),
            "opaque": self.opaque,
            "axes": [_axis(graph, axis) for axis in graph.axes.values()],
            "blocks": [_tensor(self, name) for name in self.header.tensors],
        }


def read_report(source: str, *, trust: bool = False) -> Report:
    """Return the report of a file, folder or hub id; no weight is read.

    Args:
        source: What is reported on.
        trust: As for `load_checkpoint`; pickles are the one kind of file that is loaded for its header.

    Raises:
        CheckpointError: The header cannot be read, or contradicts itself.
    """
    from weightspace.checkpoint.load import read_header
    from weightspace.graph.infer import infer_graph

    header = read_header(source, trust=trust)
    return Report(source, header, infer_graph(header))


def _axis(graph: ParameterGraph, axis: Axis) -> dict[str, Any]:
    return {
        "name": axis.name,
        "size": axis.size,
        "units": graph.count(axis.name),
        "role": axis.role,
        "reason": axis.reason,
        "parent": axis.parent,
    }


def _tensor(report: Report, name: str) -> dict[str, Any]:
    info, block = report.header.tensors[name], report.graph.blocks.get(name)
    return {
        "name": name,
        "dtype": info.dtype,
        "shape": list(info.shape),
        "size": info.size,
        "kind": block.kind if block else "",
        "view": block.view if block else "",
        "axes": list(block.axes) if block else [],
    }
