"""Where every place is alike, signals are the network's own answers; and they know no numbering of units."""

import pytest
import torch
from torch import Generator, Tensor, nn

from tests.encode.networks import GRAPHS, weights
from weightspace.encode.plan import Plan, compile_plan
from weightspace.encode.signals import LARGEST, Signals
from weightspace.encode.weights import measure_weights, ready_weights
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.trace import trace_graph
from weightspace.nn.statistics import describe
from weightspace.nn.tiles import as_matrix

PLACES = 5


def make_signals(alike: bool = False) -> Signals:
    signals = Signals(PLACES, generator=Generator().manual_seed(0)).double()
    if alike:
        with torch.no_grad():
            signals.patches.mixer[1:] = 0
            signals.patches.mixer[0] = torch.eye(PLACES)
    return signals


def run(signals: Signals, plan: Plan, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    matrices = {e.tensor: as_matrix(tensors[e.tensor], e.order, e.sizes) for e in plan.edges}
    _, rms = describe(measure_weights(plan, matrices, torch.float64), tuple(e.sizes for e in plan.edges))
    return signals(plan, ready_weights(plan, matrices, rms), rms)


class Residual(nn.Module):
    """A chain with a norm, and a sum over a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6)
        self.second, self.third = nn.Conv2d(6, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        return self.third((self.second(x) + x).tanh().mean((2, 3)))


def chain(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(7, 9), activation, nn.Linear(9, 5), nn.LayerNorm(5), activation, nn.Linear(5, 3))


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.GELU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 3),
    )  # fmt: skip


MODULES = {
    "relu": (lambda: chain(nn.ReLU()), (7,)),
    "tanh": (lambda: chain(nn.Tanh()), (7,)),
    "residual": (Residual, (2, 9, 9)),
    "groups": (grouped, (2, 9, 9)),
}


@pytest.mark.parametrize("name", MODULES)
def test_where_all_places_are_alike_signals_are_what_the_network_answers(name):
    torch.manual_seed(0)
    make, shape = MODULES[name]
    module = make().double().eval()
    for buffer, value in module.named_buffers():
        if value.is_floating_point():
            module.get_buffer(buffer).copy_(torch.rand_like(value) + 0.5)
    plan, signals = (
        compile_plan(trace_graph(module, (torch.zeros(2, *shape, dtype=torch.float64),))),
        make_signals(True),
    )
    found = run(signals, plan, {n: t.detach()[None] for n, t in module.state_dict().items() if t.is_floating_point()})

    inputs, outputs = (next(n for n, a in plan.axes.items() if a.role == role) for role in ("input", "output"))
    flat = found[inputs][0].T
    images = flat if len(shape) == 1 else flat[:, :, None, None].expand(-1, -1, *shape[1:])
    torch.testing.assert_close(found[outputs][0].T, module(images), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", GRAPHS)
def test_relabelling_reorders_signals_of_hidden_units_and_keeps_the_rest(name):
    graph: ParameterGraph = GRAPHS[name]
    plan, signals, checkpoint = compile_plan(graph), make_signals(), weights(graph)
    permutations = random_permutations(graph, generator=Generator().manual_seed(1))
    before, after = (
        run(signals, plan, {n: c.tensors[n][None] for n in graph.blocks})
        for c in (checkpoint, relabel(checkpoint, graph, permutations))
    )
    for axis, found in before.items():
        torch.testing.assert_close(after[axis].sum(1), found.sum(1), rtol=1e-9, atol=1e-9)
        if graph.axes[axis].role == "output":
            torch.testing.assert_close(after[axis], found, rtol=1e-9, atol=1e-9)


class Gated(nn.Module):
    """Recurrent cells with two biases, whose gates lie one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.out = nn.GRU(3, 5, num_layers=2, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cells(x)[0][:, -1])


@pytest.mark.parametrize(
    "make, inputs",
    [
        (Gated, torch.zeros(2, 4, 3)),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0), torch.zeros(2, 4, 8)),
        (
            lambda: nn.Sequential(nn.Embedding(11, 6), nn.Flatten(), nn.Linear(24, 3)),
            torch.zeros(2, 4, dtype=torch.long),
        ),
    ],
)
def test_networks_that_are_run_in_likeness_only_have_finite_signals(make, inputs):
    torch.manual_seed(0)
    module = make().eval()
    plan = compile_plan(trace_graph(module, (inputs,)))
    found = run(make_signals(), plan, {n: t.detach().double()[None] for n, t in module.state_dict().items()})
    assert set(found) == set(plan.axes)
    assert all(x.isfinite().all() and x.shape[1] == plan.counts[name] for name, x in found.items())


def test_places_differ_once_a_kernel_mixes_them_and_signals_stay_bounded():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)).double()
    plan = compile_plan(trace_graph(module, (torch.zeros(2, 1, 9, 9, dtype=torch.float64),)))
    tensors = {n: 1e6 * t.detach()[None] for n, t in module.state_dict().items()}
    found = run(make_signals(), plan, tensors)
    last = found[next(n for n, a in plan.axes.items() if a.role == "output")]

    assert last.square().mean().sqrt() <= LARGEST * 1.001
    assert not torch.allclose(last, run(make_signals(True), plan, tensors)[next(iter(reversed(plan.axes)))])
