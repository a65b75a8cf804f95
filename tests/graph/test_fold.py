"""Folding batch norms keeps the function, leaves one of all ways to split a scale, and touches no other norm."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, nn

from tests.architectures import ARCHITECTURES
from tests.real.module import RebuiltModule
from tests.real.networks import layers
from tests.real.table import PATHS, network_of, weights_of
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import ArchitectureError
from weightspace.execute.module import from_module, to_module
from weightspace.graph.build import build_graph
from weightspace.graph.check import randomise
from weightspace.graph.fold import fold_batch_norm
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel

# Norms right after a layer, by hand.
NORMS = {"vgg_bn": 3, "resnet20": 19, "mobilenet": 8, "dcgan_generator": 3, "unet": 10, "senet": 2, "lenet5": 0}
CHECKED = 3
"""Each third changed tensor is put back, to see that it was needed."""


def randomised(module: nn.Module, args: tuple, seed: int = 0) -> Checkpoint:
    """In float64, all weights and norm statistics drawn, some scales negative."""
    module = module.double().eval()
    captured = from_module(module, doubled(args))
    kinds = {b.tensor: b.kind for b in build_graph(captured).blocks.values()}
    randomise(module, kinds, Generator().manual_seed(seed))
    return replace(captured, tensors={name: module.state_dict()[name].clone() for name in captured.tensors})


def doubled(args: tuple) -> tuple:
    return tuple(a.double() if a.is_floating_point() else a for a in args)


def difference(one: Checkpoint, *others: Checkpoint, args: tuple) -> list[float]:
    """Of the outputs of each other from those of the first, relative."""
    module = to_module(one)
    with torch.no_grad():
        before = module(*doubled(args))
        after = [torch.func.functional_call(module, dict(other.tensors), doubled(args)) for other in others]
    return [float((before - x).abs().max() / before.abs().max()) for x in after]


def folded_norms(before: Checkpoint, after: Checkpoint) -> list[str]:
    """Norms whose variance changed."""
    names = [name for name in before.tensors if name.endswith(("running_var", "moving_variance:0"))]
    return [name for name in names if not torch.equal(before.tensors[name], after.tensors[name])]


@pytest.mark.parametrize("name", NORMS)
def test_the_function_stays_and_every_norm_is_the_identity(name):
    architecture = ARCHITECTURES[name]
    sizes = {**architecture.sizes, "width": 4} if "width" in architecture.sizes else architecture.sizes
    args = architecture.inputs(sizes)
    before = randomised(architecture.build(**sizes), args)
    after = fold_batch_norm(before)

    changed = [name for name, tensor in before.tensors.items() if not torch.equal(tensor, after.tensors[name])]
    halves = [replace(after, tensors={**after.tensors, name: before.tensors[name]}) for name in changed[::CHECKED]]
    kept, *broken = difference(before, after, *halves, args=args)
    assert kept < 1e-9 and all(error > 1e-6 for error in broken)
    assert len(folded_norms(before, after)) == NORMS[name]
    for var in folded_norms(before, after):
        norm = {key: after.tensors[var.replace("running_var", key)] for key in ("weight", "running_mean")}
        assert (norm["weight"] == 1).all() and (norm["running_mean"] == 0).all()
        assert (after.tensors[var] == 1 - 1e-5).all()


def test_two_ways_to_split_scale_and_shift_become_one():
    g = Generator().manual_seed(1)
    net, x = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU()), torch.randn(2, 2, 6, 6, generator=g)
    one = randomised(net, (x,))
    a, b = (torch.randn(5, generator=g, dtype=torch.float64) for _ in range(2))
    t = dict(one.tensors)
    t["0.weight"] = t["0.weight"] * a[:, None, None, None]
    t["0.bias"], t["1.running_mean"] = t["0.bias"] * a + b, t["1.running_mean"] * a + b
    t["1.running_var"] = (t["1.running_var"] + 1e-5) * a**2 - 1e-5
    t["1.weight"] = t["1.weight"] * a.sign()
    other = replace(one, tensors=t)

    assert difference(one, other, args=(x,))[0] < 1e-9
    first, second = fold_batch_norm(one).tensors, fold_batch_norm(other).tensors
    assert all(torch.allclose(first[name], second[name], rtol=1e-9, atol=1e-12) for name in first)
    assert not torch.allclose(one.tensors["0.weight"], other.tensors["0.weight"])


class Product(nn.Module):
    """A matrix stored `(in, out)`."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 4))

    def forward(self, x):
        return x @ self.weight


LAYERS = {
    "linear": (nn.Linear(3, 4), nn.BatchNorm1d(4), (3,)),
    "linear without bias": (nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), (3,)),
    "linear stored the other way": (Product(), nn.BatchNorm1d(4), (3,)),
    "norm without scale": (nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False), (3,)),
    "nowhere to put the shift": (nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4, affine=False), (3,)),
    "epsilon of Keras": (nn.Linear(3, 4), nn.BatchNorm1d(4, eps=1e-3), (3,)),
    "convolution, one dimension": (nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4), (3, 5)),
    "convolution, three dimensions": (nn.Conv3d(3, 4, 2), nn.BatchNorm3d(4), (3, 4, 4, 4)),
    "padded": (nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), (3, 4, 4)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.BatchNorm2d(8), (4, 5, 5)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), (4, 5, 5)),
    "transposed and grouped": (nn.ConvTranspose1d(4, 6, 3, groups=2, bias=False), nn.BatchNorm1d(6), (4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_before_a_norm_takes_its_scale(name):
    layer, norm, shape = LAYERS[name]
    args = (torch.randn(3, *shape, generator=Generator().manual_seed(0)),)
    before = randomised(nn.Sequential(layer, norm, nn.Tanh()), args)
    after = fold_batch_norm(before)

    assert folded_norms(before, after) == ["1.running_var"]
    assert difference(before, after, args=args)[0] < 1e-12
    again = fold_batch_norm(after)
    assert all(torch.allclose(again.tensors[k], v, rtol=0, atol=1e-12) for k, v in after.tensors.items())


class Wired(nn.Module):
    """Two convolutions and two norms, joined by a function."""

    def __init__(self, wiring, tied=False):
        super().__init__()
        self.a, self.b = nn.Conv1d(3, 3, 1), nn.Conv1d(3, 3, 1)
        self.n, self.m = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        self.wiring = wiring
        if tied:
            self.b.weight = self.a.weight

    def forward(self, x):
        return self.wiring(self, x)


def both(self, x):
    y = self.a(x)
    return self.n(y) + y


LEFT = {
    "an activation stands between": Wired(lambda self, x: self.n(self.a(x).relu())),
    "the norm comes first": Wired(lambda self, x: self.a(self.n(x))),
    "something else reads the output": Wired(both),
    "the layer acts twice": Wired(lambda self, x: self.n(self.a(self.a(x)))),
    "the norm acts twice": Wired(lambda self, x: self.n(self.a(x)) + self.n(self.b(x))),
    "the weight is tied to another layer's": Wired(lambda self, x: self.n(self.a(x)) * self.b(x), tied=True),
    "the weight is made from another": Wired(lambda self, x: self.n(F.conv1d(x, self.a.weight.abs()))),
    "the output is an output too": Wired(lambda self, x: (lambda y: (self.n(y), y))(self.a(x))),
}


@pytest.mark.parametrize("name", LEFT)
def test_other_norms_stay_as_they_are(name):
    before = randomised(LEFT[name], (torch.randn(2, 3, 4, generator=Generator().manual_seed(0)),))
    after = fold_batch_norm(before)
    assert all(torch.equal(after.tensors[k], v) for k, v in before.tensors.items())


def test_one_of_two_norms_can_be_folded():
    x = torch.randn(2, 3, 4, generator=Generator().manual_seed(0))
    before = randomised(Wired(lambda self, x: self.m(self.n(self.a(x)).relu())), (x,))
    after = fold_batch_norm(before)
    assert folded_norms(before, after) == ["n.running_var"]
    assert difference(before, after, args=(x,))[0] < 1e-12


def test_a_folded_checkpoint_runs_relabels_keeps_its_dtypes_and_leaves_the_given_one_alone():
    architecture = ARCHITECTURES["vgg_bn"]
    args = architecture.inputs(architecture.sizes)
    module = architecture.build(**architecture.sizes)
    given = from_module(module, args)
    copies = {name: tensor.clone() for name, tensor in given.tensors.items()}
    after = fold_batch_norm(given)
    assert all(torch.equal(given.tensors[name], tensor) for name, tensor in copies.items())
    assert all(after.tensors[name].dtype == tensor.dtype for name, tensor in given.tensors.items())
    assert after.metadata == given.metadata and after.header.tensors == given.header.tensors

    after = fold_batch_norm(randomised(module, args))
    assert torch.isfinite(to_module(after)(*doubled(args))).all()
    graph = build_graph(after)
    orders = random_permutations(graph, generator=Generator().manual_seed(0))
    assert difference(after, relabel(after, graph, orders), args=args)[0] < 1e-9


REAL = {
    "cifar10_resnet20": 19,
    "mlperf_tiny_resnet8": 7,
    "mlperf_tiny_streaming_ww": 4,
    "minifasnet_v2": 50,
    "ultraface_slim_320": 25,
    "srgan_generator_x4": 10,
    "mnist_dcgan_discriminator": 2,
    "attacut_sc": 0,  # its norms follow an activation
}


@pytest.mark.parametrize("name", [name for name in REAL if name in PATHS])
def test_real_networks_keep_their_function(name, monkeypatch):
    def normalise(x, statistics, affine, eps):
        return F.batch_norm(x, *statistics, *(affine or (None, None)), training=False, eps=eps)

    monkeypatch.setattr(layers, "normalise", normalise)
    network, weights = network_of(name), weights_of(load_checkpoint(PATHS[name]))
    args = network.inputs(weights, Generator().manual_seed(0))
    before = from_module(RebuiltModule(network, weights), args)
    after = fold_batch_norm(before)

    module = to_module(before)
    with torch.no_grad():
        found = module(*args), torch.func.functional_call(module, dict(after.tensors), args)
    pairs = zip(*((x,) if torch.is_tensor(x) else x for x in found), strict=True)
    error = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    folded = sum(not torch.equal(before.tensors[k], after.tensors[k]) for k in before.tensors if "var" in k)
    print(f"{name}: {folded} norms folded, error {error:.1e}")
    assert error < 1e-9 and folded == REAL[name]


def test_without_a_program_nothing_is_guessed():
    checkpoint = Checkpoint({"0.weight": torch.ones(1, 1), "1.running_var": torch.ones(1)}, source="net.pt")
    with pytest.raises(ArchitectureError, match=r"net.pt: .*neither the epsilon.*from_module"):
        fold_batch_norm(checkpoint)


def test_tensors_and_arguments_that_do_not_fit_are_named():
    layer, norm, _ = LAYERS["grouped"]
    given = randomised(nn.Sequential(layer, norm), (torch.zeros(2, 4, 5, 5),))
    with pytest.raises(
        ArchitectureError, match=r"'0.weight' of shape \(6, 2, 3, 3\), the checkpoint has \(6, 2, 3, 4\)"
    ):
        fold_batch_norm(replace(given, tensors={**given.tensors, "0.weight": torch.zeros(6, 2, 3, 4)}))
    with pytest.raises(ArchitectureError, match=r"'1.running_mean'.* no such tensor"):
        fold_batch_norm(replace(given, tensors={k: v for k, v in given.tensors.items() if k != "1.running_mean"}))
    program = json.loads(given.metadata["architecture"])
    next(row for row in program["nodes"] if "batch_norm" in row[1])[2][6] = "small"
    with pytest.raises(ArchitectureError, match="Capture it again"):
        fold_batch_norm(replace(given, metadata={"architecture": json.dumps(program)}))
