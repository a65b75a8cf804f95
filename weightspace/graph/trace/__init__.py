"""Parameter graphs of running modules: captured as a program, terms carried through, axes read off."""

from __future__ import annotations

from typing import Any

from torch import nn

from weightspace.graph.axes import ParameterGraph
from weightspace.graph.trace.capture import capture_program
from weightspace.graph.trace.program import Program
from weightspace.graph.trace.propagate import propagate
from weightspace.graph.trace.result import build_result


def trace_graph(module: nn.Module, args: tuple[Any, ...]) -> ParameterGraph:
    """Return the parameter graph of a module, from the operations that `module(*args)` runs.

    Ties are found by the data flow, never by equal sizes; an operation without a rule fixes the units it touches, for
    that reason. The module is neither run on real numbers nor changed.

    Args:
        module: In any mode; traced as in evaluation.
        args: Example inputs as for `torch.export`; only shapes and dtypes count. Give sequences their full length:
            what a shorter call does not use is fixed.

    Raises:
        TraceError: The module can't be exported.

    Example:
        >>> import torch
        >>> graph = trace_graph(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), (torch.zeros(1, 2),))
        >>> [(axis.name, axis.size, axis.role) for axis in graph.axes.values()]
        [('0.out', 3, 'hidden'), ('0.in', 2, 'input'), ('2.out', 1, 'output')]
    """
    return trace_program(capture_program(module, args))


def trace_program(program: Program) -> ParameterGraph:
    """Return the parameter graph of a captured program; no module is needed."""
    return build_result(propagate(program))
