"""What is fixed says why: unused weights, unread rows, operations without a rule."""

import torch
from torch import nn

from weightspace.graph.check import check_graph
from weightspace.graph.trace import trace_graph


class Positions(nn.Module):
    """Position rows beyond the traced length, and a weight that no call uses."""

    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Linear(3, 4), nn.Linear(4, 2)
        self.rows = nn.Parameter(torch.zeros(9, 4))
        self.idle = nn.Linear(5, 6)

    def forward(self, x):
        return self.out(torch.relu(self.inp(x) + self.rows[: x.shape[1]]))


def test_rows_and_weights_that_the_call_does_not_use_are_fixed():
    module, args = Positions(), (torch.zeros(2, 6, 3),)
    graph = trace_graph(module, args)

    hidden = [a.name for a in graph.axes.values() if a.role == "hidden"]
    assert hidden == list(graph.blocks["inp.bias"].axes)
    idle = [graph.axes[name] for name in graph.blocks["idle.weight"].axes]
    assert {a.reason for a in idle} == {"no operation of the traced call uses it"}
    unread = [a for a in graph.axes.values() if "reads these units" in a.reason]
    assert [a.size for a in unread] == [3]
    assert graph.understood == 1
    assert check_graph(graph, module, args).passed


def test_an_operation_without_a_rule_fixes_what_it_touches_and_is_named():
    class Distances(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.free = nn.Linear(5, 4), nn.Linear(3, 2), nn.Linear(2, 6)
            self.out = nn.Linear(6, 1)
            self.centres = nn.Parameter(torch.ones(3, 4))

        def forward(self, x):
            return self.out(torch.tanh(self.free(self.b(torch.cdist(self.a(x), self.centres)))))

    graph = trace_graph(Distances(), (torch.zeros(2, 5),))
    assert {a.size for a in graph.axes.values() if a.role == "hidden"} == {2, 6}
    assert any("_cdist_forward" in a.reason for a in graph.axes.values())


def test_stages_follow_the_data_and_tell_what_comes_between():
    graph = trace_graph(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2)
        ),
        (torch.zeros(2, 3, 6, 6),),
    )
    assert [(s.name, s.op, s.after) for s in graph.stages] == [
        ("0", "conv", ()),
        ("1", "norm", ("relu", "max_pool2d")),
        ("5", "linear", ()),
    ]
    assert [graph.blocks[t].kind for t in graph.stages[1].blocks] == [
        "norm scale",
        "norm shift",
        "running mean",
        "running variance",
    ]
    assert graph.blocks["0.weight"].view == "oikk"


def test_a_verdict_tells_a_wrong_graph():
    module, args = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (torch.zeros(5, 3),)
    graph = trace_graph(module, args)
    axes = {name: type(a)(a.name, a.size, "hidden") for name, a in graph.axes.items()}

    verdict = check_graph(type(graph)(axes, graph.blocks, graph.stages, "trace"), module, args)

    assert not verdict.passed
    assert {a.axis for a in verdict.axes if not a.passed} == {"0.in", "2.out"}
    assert "0.in: changes the outputs" in str(verdict)
