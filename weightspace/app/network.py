"""One network as the explorer shows it: weights, graph, the program it runs by, and the questions it can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, final

from torch import Tensor, nn

from weightspace.app.behaviour import Questions, answer, describe_answers
from weightspace.app.filters import first_filters
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.answers import input_shape
from weightspace.errors import ExplorerError, WeightspaceError
from weightspace.execute.module import to_module
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.build import build_graph
from weightspace.graph.trace.program import Program
from weightspace.inspect.examine import Examination

ODD = 8
"""Anomalies that are shown; the page of the report has all."""


@final
@dataclass(frozen=True, eq=False)
class Network:
    """A checkpoint that can be looked at.

    Args:
        checkpoint: Weights and metadata.
    """

    checkpoint: Checkpoint

    @cached_property
    def graph(self) -> ParameterGraph:
        """Its axes and blocks."""
        return build_graph(self.checkpoint)

    @cached_property
    def program(self) -> Program:
        """What it computes.

        Raises:
            ExplorerError: The checkpoint does not say.
        """
        text = self.checkpoint.metadata.get("architecture")
        if not text:
            raise ExplorerError(
                "the checkpoint does not say how its network is run; save it with from_module(module, args)."
            )
        return Program.from_json(text)

    @cached_property
    def inputs(self) -> tuple[int, ...] | None:
        """Shape of one input, where it is known."""
        return input_shape(self.program) if self.checkpoint.metadata.get("architecture") else None

    @cached_property
    def module(self) -> nn.Module:
        """Runs it."""
        return to_module(self.checkpoint)

    @cached_property
    def _answered(self) -> dict[str, Tensor]:
        return {}

    def logits(self, asked: Questions) -> Tensor:
        """Return what it answers, `(inputs, classes)`; each dataset is asked once.

        Raises:
            ExplorerError: It takes other inputs or tells other classes apart, or cannot be run.
        """
        if asked.name not in self._answered:
            asked.check(self.program)
            self._answered[asked.name] = answer(self.module, self.checkpoint.tensors, asked)
        return self._answered[asked.name]

    def show_filters(self, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """Return the pictures of its first layer, or of other weights in its place; or why there are none."""
        shown = self.checkpoint.tensors if tensors is None else tensors
        return attempt(lambda: first_filters(shown, self.graph, self.inputs).as_dict())

    def show_behaviour(self, choices: Sequence[Callable[[], Questions]]) -> dict[str, Any]:
        """Return its answers to the first questions that it can be asked, or why to none."""
        told: dict[str, Any] = {"error": "the table names no dataset that it could be tested on (--dataset)."}
        for choice in choices:
            told = attempt(partial(self._asked, choice))
            if "error" not in told:
                break
        return told

    def _asked(self, choice: Callable[[], Questions]) -> dict[str, Any]:
        asked = choice()
        return describe_answers(self.logits(asked), asked)


def attempt(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what the work gives; where it fails on purpose, one sentence under `error`."""
    try:
        return work()
    except WeightspaceError as error:
        return {"error": " ".join(str(error).split())}


def summarise_examination(found: Examination) -> dict[str, Any]:
    """Return what the pane shows of a report, as JSON's types."""
    report = found.report
    told = found.predictions
    return {
        "weights": report.header.weights,
        "tensors": len(report.header.tensors),
        "understood": report.graph.understood,
        "units": report.graph.units,
        "free_units": report.graph.free_units,
        "graph_source": report.graph.source,
        "stages": [stage.op for stage in report.graph.stages if stage.blocks],
        "dead": sum(u.dead for u in found.units),
        "spare": sum(u.spare for u in found.units),
        "anomalies": [a.as_dict() for a in found.anomalies[:ODD]],
        "more_anomalies": max(0, len(found.anomalies) - ODD),
        "novelty": None if told is None else told.novelty,
    }
