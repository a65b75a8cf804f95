"""The verdict on a user's own network: what it passes, what it fails, and what it says."""

import pytest
import torch
from torch import nn

from weightspace.errors import GraphError
from weightspace.graph.axes import Axis
from weightspace.graph.check import check_graph
from weightspace.graph.trace import trace_graph


class NarrowNorm(nn.Module):
    """Root mean square norm that computes in float32 whatever it is given, as language models have it."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        wide = x.to(torch.float32)
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


def perceptron(*between):
    return nn.Sequential(nn.Linear(3, 6), *between, nn.Linear(6, 2))


def freed(graph, name):
    """The graph with one axis declared hidden that is not."""
    axes = dict(graph.axes) | {name: Axis(name, graph.axes[name].size, "hidden")}
    return type(graph)(axes, graph.blocks, graph.stages, "trace")


ARGS = (torch.randn(4, 3, generator=torch.Generator().manual_seed(0)),)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_a_module_rounds_on_its_way_does_not_fail_its_graph(dtype):
    class Rounded(nn.Module):
        def forward(self, x):
            return x.to(dtype).tanh().to(x.dtype)

    module = perceptron(NarrowNorm(6), Rounded())
    verdict = check_graph(trace_graph(module, ARGS), module, ARGS)

    assert verdict.passed, str(verdict)
    assert verdict.together < 1e-12


def test_a_wrong_graph_of_such_a_module_still_fails():
    module = perceptron(NarrowNorm(6))
    graph = trace_graph(module, ARGS)
    output = next(axis.name for axis in graph.axes.values() if axis.role == "output")

    verdict = check_graph(freed(graph, output), module, ARGS)

    assert not verdict.passed
    assert [axis.axis for axis in verdict.axes if not axis.passed] == [output]
    assert str(verdict).startswith("FAILED") and f"{output}: changes the outputs" in str(verdict)


def test_outputs_of_whole_numbers_and_truth_values_are_compared_too():
    class Answer(nn.Module):
        def forward(self, x):
            return x.argmax(-1), x > 0, x

    module = perceptron(nn.ReLU())
    module.append(Answer())

    assert check_graph(trace_graph(module, ARGS), module, ARGS).passed


def test_the_module_is_left_as_it_was():
    module = perceptron(nn.BatchNorm1d(6)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    check_graph(trace_graph(module, ARGS), module, ARGS)

    assert module.training
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.items())


def test_outputs_that_are_no_numbers_never_pass():
    class Broken(nn.Module):
        def forward(self, x):
            return x / 0.0

    module = perceptron(Broken())
    verdict = check_graph(trace_graph(module, ARGS), module, ARGS)

    assert not verdict.passed and "NaN" in str(verdict)


@pytest.mark.parametrize("args", [(), (torch.ones(4, 5),), (torch.ones(4, 3), 1)])
def test_args_that_do_not_run_are_named(args):
    module = perceptron()
    with pytest.raises(GraphError, match="Sequential does not run on these args"):
        check_graph(trace_graph(module, ARGS), module, args)


def test_the_graph_of_another_module_is_named():
    with pytest.raises(GraphError, match=r"blocks that Linear does not have: \['0\."):
        check_graph(trace_graph(perceptron(), ARGS), nn.Linear(3, 2), ARGS)
