"""Rescaling keeps the function where every operation lets factors pass, and is refused where one does not."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.architectures import ARCHITECTURES
from tests.graph.symmetry.networks import seeded
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import GraphError
from weightspace.graph.axes import leaves
from weightspace.graph.check import difference, randomise
from weightspace.graph.infer import infer_graph
from weightspace.graph.layout import segments
from weightspace.graph.symmetry.rescale import rescale, scalable
from weightspace.graph.trace import trace_graph

# Worked out by hand, at the smallest sizes. Heads hold child axes, which are scaled instead.
ACCEPTED = {
    "mlp": {"0.out": "positive", "2.out": "positive"},
    "lenet5": {"fc1.out": "sign", "fc2.out": "sign"},  # a maximum stands between the tanh and the next kernel
    "vgg_bn": dict.fromkeys(("features.0.out", "features.4.out", "features.8.out", "classifier.0.out"), "positive"),
    "resnet20": dict.fromkeys(
        (
            "conv1.out",
            *(f"layer{n}.0.conv1.out" for n in (1, 2, 3)),
            *(f"layer{n}.0.conv2.out{k}" for n in (2, 3) for k in ("", ".2")),
        ),
        "positive",
    ),
    "mobilenet": {"features.1.conv.2.out": "any"},  # the others end in ReLU6
    "unet": {"up1.out": "any", "up2.out": "any"}
    | dict.fromkeys(
        f"{part}double_conv.{n}.out" for part in ("inc.", "down1.1.", "down2.1.", "conv1.", "conv2.") for n in (0, 3)
    ),
    "dcgan_generator": dict.fromkeys(("main.0.out", "main.3.out", "main.6.out"), "positive"),
    "senet": {"stem.out": "positive", "layers.0.fc.0.out": "positive"},
    "lstm": {"embedding.out": "any", "rnn.out": "sign"},  # cell, candidate gate and output change their signs
    "bidirectional_gru": {"embedding.out": "any"} | dict.fromkeys(("rnn.out", *(f"rnn.out.{n}" for n in (2, 3, 4)))),
    "vit": {"cls_token.out": "any", "blocks.0.attn.qkv.out.2": "any", "blocks.0.attn.qkv.out.3": "any"},
    "gpt": {"transformer.wte.out": "any"}
    | dict.fromkeys((f"transformer.h.0.attn.c_attn.out.{n}" for n in (2, 3)), "any"),
    "llama": {"embed_tokens.out": "any", "layers.0.self_attn.v_proj.out": "any", "layers.0.mlp.gate_proj.out": "any"},
    "transformer_encoder": {"layers.0.self_attn.out.2": "any", "layers.0.self_attn.out.3": "any"}
    | {"layers.0.linear1.out": "positive"},
    "multihead_attention": {"in_proj_weight.out.2": "any", "in_proj_weight.out.3": "any"},
    "actor_critic": dict.fromkeys(
        (f"mlp_extractor.{net}_net.{n}.out" for net in ("policy", "value") for n in (0, 2)), "sign"
    ),
}
DRAWS = 3
DEFAULT = {"unet": "positive", "bidirectional_gru": "sign"}


class Trial:
    """A module in float64 with every weight and statistic drawn at random, and its traced graph."""

    def __init__(self, module, args):
        self.graph = trace_graph(module, args)
        self.module = module.double().eval()
        self.args = tuple(a.double() if a.is_floating_point() else a for a in args)
        self.draw(0)

    def draw(self, seed):
        """Draw all weights anew: in one draw a unit may be switched off, or far from where a clamp begins."""
        randomise(self.module, {b.tensor: b.kind for b in self.graph.blocks.values()}, seeded(seed))
        state = {k: v.detach().clone() for k, v in self.module.state_dict().items() if k not in self.graph.shared}
        self.checkpoint = Checkpoint(state, shared=self.graph.shared)
        self.before = self.run(state)

    def most(self, measure):
        """Largest of what is measured in some draws."""
        found = []
        for seed in range(DRAWS):
            self.draw(seed)
            found.append(float(measure()))
        return max(found)

    @property
    def axis(self):
        """Axis that the first layer of `Between` writes."""
        return self.graph.blocks["a.bias"].axes[0]

    def run(self, tensors):
        found = torch.func.functional_call(self.module, dict(tensors), self.args, tie_weights=True)
        return [t.detach() for t in (found if isinstance(found, tuple) else (found,)) if t is not None]

    def error(self, checkpoint):
        return difference(self.before, self.run(checkpoint.tensors))

    def factors(self, axis, kind):
        shape = tuple(self.graph.axes[name].size for name in self.graph.lineage(axis))
        sizes = torch.rand(shape, generator=seeded(2)).double() * 2 + 0.3
        signs = torch.randint(0, 2, shape, generator=seeded(3)).double() * 2 - 1
        signs.view(-1)[0] = -1
        return {"positive": sizes, "sign": signs, "any": sizes * signs}[kind]

    def moved(self, after):
        return [name for name, t in self.checkpoint.tensors.items() if not torch.equal(after.tensors[name], t)]

    def naive(self, axis, factor):
        """Multiply all that writes the first unit of an axis and divide all that reads it, whatever lies between."""
        tensors = {}
        for name, block in self.graph.blocks.items():
            tensors[name] = self.checkpoint.tensors[name].clone()
            for d, (letter, term) in enumerate(zip(block.view, block.dims, strict=True)):
                if any(leaf.axis == axis for leaf in leaves(term)) and "running" not in block.kind:
                    tensors[name].select(d, 0).mul_(factor if letter == "o" else 1 / factor)
        return Checkpoint({**self.checkpoint.tensors, **tensors})


@cache
def trial(name):
    architecture = ARCHITECTURES[name]
    sizes = architecture.sizes | {key: min(values) for key, values in architecture.draws.items()}
    return Trial(architecture.build(**sizes), architecture.inputs(sizes, batch=16))


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_accepted_axis_keeps_the_function_and_half_of_it_does_not(name):
    on = trial(name)
    accepted = scalable(on.graph)

    assert accepted == {axis: kind or DEFAULT[name] for axis, kind in ACCEPTED[name].items()}
    for axis, kind in accepted.items():
        factors = {axis: on.factors(axis, kind)}

        def half_error(factors=factors):
            scaled = rescale(on.checkpoint, on.graph, factors)
            moved = on.moved(scaled)
            assert on.error(scaled) < 1e-9 and len(moved) >= 2
            return difference(on.before, on.run({**on.checkpoint.tensors, moved[-1]: scaled.tensors[moved[-1]]}))

        assert on.most(half_error) > 1e-6, axis


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_no_refused_axis_could_have_been_scaled(name):
    """Near 1, no way of multiplying the places of a unit by powers of one factor keeps the outputs."""
    on = trial(name)
    accepted, parents = scalable(on.graph), {axis.parent for axis in on.graph.axes.values()}
    refused = [
        a.name
        for a in on.graph.axes.values()
        if a.role == "hidden" and a.name not in parents and accepted.get(a.name, "sign") == "sign"
    ]
    for axis in refused:
        assert independence(on, axis) > 1e-6, axis
        with pytest.raises(GraphError, match=rf"axis '{axis}' cannot be rescaled by factors other than 1 and -1"):
            rescale(on.checkpoint, on.graph, {axis: abs(on.factors(axis, "positive"))})


def independence(on, axis):
    """Smallest singular value of the changes in several networks; 0 where the same powers change nothing in all."""
    changes = []
    for seed in range(24):
        on.draw(seed)
        for tensor in (on.checkpoint.tensors[n] for n, b in on.graph.blocks.items() if b.kind.startswith("norm s")):
            tensor.mul_(3)  # ReLU6 is no ReLU only where it clamps
        changes.append(torch.stack(list(changes_of(on, axis))))
    together = torch.cat(changes, 1)
    return torch.linalg.svdvals(together / together.norm(dim=1, keepdim=True))[-1]


def changes_of(on, axis):
    """How the outputs move as the logarithms of a unit's weights at one position of one tensor do.

    Running statistics stay: a batch norm undoes whatever its input's weights and statistics are scaled by together.
    """
    for name, block in ((n, b) for n, b in on.graph.blocks.items() if not b.kind.startswith("running")):
        for d, term in enumerate(block.dims):
            for segment in segments(on.graph, term):
                first = [segment.digits[a] == 0 for a in on.graph.lineage(axis) if a in segment.digits]
                if axis in segment.digits:
                    for position in segment.positions[np.logical_and.reduce(first)].tolist():
                        yield change(on, name, d, position)


def change(on, name, d, position, step=1e-5):
    tensor = on.checkpoint.tensors[name]
    direction = torch.zeros_like(tensor)
    direction.select(d, position).copy_(tensor.select(d, position))
    up, down = (
        torch.cat([t.flatten() for t in on.run({**on.checkpoint.tensors, name: tensor + sign * step * direction})])
        for sign in (1, -1)
    )
    return (up - down) / (2 * step)


class Between(nn.Module):
    """Two layers of seven hidden units with something between them."""

    def __init__(self, between, *, wide=False):
        super().__init__()
        self.wide, self.between = wide, between
        self.a = nn.Conv1d(3, 8, 3, padding=1) if wide else nn.Linear(3, 8)
        self.b = nn.Conv1d(8, 2, 3) if wide else nn.Linear(8, 2)

    def forward(self, x):
        return self.b(self.between(self.a(x)))


def between(function, *, wide=False):
    x = torch.randn((16, 3, 8) if wide else (64, 3), generator=seeded(5))
    return Trial(Between(function, wide=wide), (x,))


class Call(nn.Module):
    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleDict(modules)

    def forward(self, x):
        return self.function(x, **self.parts)


PASSED = {
    "identity": (nn.Identity(), False, "any"),
    "leaky": (nn.LeakyReLU(0.2), False, "positive"),
    "prelu": (nn.PReLU(8), False, "positive"),
    "shared prelu": (nn.PReLU(), True, "positive"),
    "clamped at zero": (Call(lambda x: x.clamp(min=0)), False, "positive"),
    "maximum with zeros": (Call(lambda x: torch.maximum(x, torch.zeros_like(x))), False, "positive"),
    "threshold at zero": (nn.Threshold(0.0, 0.0), False, "positive"),
    "tanh": (nn.Tanh(), False, "sign"),
    "sine": (Call(lambda x: torch.sin(30 * x)), False, "sign"),
    "hardtanh": (nn.Hardtanh(), False, "sign"),
    "hardtanh by default": (Call(F.hardtanh), False, "sign"),
    "softsign": (nn.Softsign(), False, "sign"),
    "square": (Call(lambda x: x * x), False, "any"),  # readers are divided by the squared factor
    "squared relu": (Call(lambda x: F.relu(x).pow(2)), False, "positive"),
    "absolute": (Call(torch.abs), False, "any"),
    "max pool": (nn.Sequential(nn.ReLU(), nn.Dropout(), nn.MaxPool1d(2)), True, "positive"),
    "average pool": (nn.AvgPool1d(2), True, "any"),
    "nearest": (nn.Upsample(scale_factor=2), True, "any"),
    "depthwise": (nn.Sequential(nn.ReLU(), nn.Conv1d(8, 8, 3, groups=8), nn.ReLU()), True, "positive"),
    "batch norm": (nn.Sequential(nn.BatchNorm1d(8), nn.ReLU()), True, "positive"),
    "group norm": (nn.GroupNorm(1, 8), True, "any"),
    "layer norm": (nn.LayerNorm(8), False, "any"),
    "padded": (Call(lambda x: F.pad(x.relu(), (1, 1))), True, "positive"),
    "biased": (Call(lambda x, bias: bias(x).relu(), bias=nn.Linear(8, 8)), False, "any"),
}


@pytest.mark.parametrize("name", list(PASSED))
def test_factors_pass(name):
    function, wide, kind = PASSED[name]
    on = between(function, wide=wide)
    accepted, axis = scalable(on.graph), on.axis

    assert accepted[axis] == kind
    scaled = rescale(on.checkpoint, on.graph, {a: on.factors(a, k) for a, k in accepted.items()})
    assert on.error(scaled) < 1e-9
    assert len(on.moved(scaled)) >= 2
    barred = {"positive": "sign", "sign": "positive"}.get(kind)
    if barred:
        with pytest.raises(GraphError, match=rf"axis '{axis}' cannot be rescaled by"):
            rescale(on.checkpoint, on.graph, {axis: on.factors(axis, barred)})


REFUSED = {
    "gelu": (nn.GELU(), False, "gelu"),
    "silu": (nn.SiLU(), False, "sigmoid"),
    "sigmoid": (nn.Sigmoid(), False, "sigmoid"),
    "elu": (nn.ELU(), False, "elu"),
    "softplus": (nn.Softplus(), False, "exp"),
    "relu6": (nn.ReLU6(), False, "hardtanh"),
    "a clamp": (Call(lambda x: x.clamp(-0.5, 0.7)), False, "clamp"),
    "a threshold": (nn.Threshold(0.1, 0.0), False, "le"),
    "a constant added": (Call(lambda x: (x + 1).relu()), False, "add"),
    "a constant subtracted": (Call(lambda x: 1 - x), False, "add|rsub|sub"),
    "a constant tensor added": (Call(lambda x: (x + torch.full((1, 1), 0.5)).relu()), False, "add"),
    "positions added": (Call(lambda x: x + torch.arange(8.0)), True, "add"),
    "a constant padded": (Call(lambda x: F.pad(x, (1, 1), value=1.0)), True, "constant_pad_nd"),
    "softmax": (nn.Softmax(-1), False, "_softmax"),
    "softmax over positions": (nn.Softmax(-1), True, "_softmax"),
    "relu, then tanh": (nn.Sequential(nn.ReLU(), nn.Tanh()), False, "relu|tanh"),
    "tanh, then a maximum": (nn.Sequential(nn.Tanh(), nn.MaxPool1d(2)), True, "max_pool2d_with_indices|tanh"),
    "a bare layer norm": (nn.LayerNorm(8, elementwise_affine=False), False, "native_layer_norm"),
    "a bare batch norm": (nn.BatchNorm1d(8, affine=False), True, "_native_batch_norm_legit_no_training"),
    "gated by its own sum": (Call(lambda x: x * x.sum(-1, keepdim=True)), False, "sum"),
    "its unit's number": (Call(lambda x: x * torch.linspace(1, 2, 8) + x.mean(-1, keepdim=True)), False, "mean"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_factors_that_do_not_pass_are_refused_and_rightly(name):
    function, wide, stop = REFUSED[name]
    on = between(function, wide=wide)
    axis = on.axis

    assert axis not in scalable(on.graph)
    if on.graph.axes[axis].role == "hidden":
        for kind, given in (("positive", "factors other than 1 and -1"), ("sign", "negative factors")):
            with pytest.raises(GraphError, match=rf"cannot be rescaled by {given}: they do not pass .*({stop})"):
                rescale(on.checkpoint, on.graph, {axis: on.factors(axis, kind)})
    assert on.most(lambda: on.error(on.naive(axis, 20.0))) > 1e-6
    assert on.most(lambda: on.error(on.naive(axis, -1.0))) > 1e-6


def test_a_norm_behind_the_writer_carries_the_factor():
    on = between(nn.Sequential(nn.BatchNorm1d(8), nn.ReLU()), wide=True)
    scaled = rescale(on.checkpoint, on.graph, {on.axis: on.factors(on.axis, "positive")})

    assert set(on.moved(scaled)) == {"between.0.weight", "between.0.bias", "b.weight"}


@pytest.mark.parametrize(
    ("axis", "factors", "text"),
    [
        ("0.out", torch.zeros(2), "with 2 zero or not finite"),
        ("0.out", torch.tensor([1.0, float("inf")]), "with 1 zero or not finite"),
        ("0.out", torch.ones(3), r"must be \(2,\) finite numbers"),
        ("0.outs", torch.ones(2), "no axis '0.outs' to rescale; the nearest are"),
        ("4.out", torch.ones(2), "axis '4.out' is output"),
        ("0.out", -torch.ones(2), "negative factors: they do not pass relu. It accepts positive factors only"),
    ],
)
def test_wrong_factors_are_named(axis, factors, text):
    on = trial("mlp")
    with pytest.raises(GraphError, match=text):
        rescale(on.checkpoint, on.graph, {axis: factors})


def test_heads_are_scaled_through_what_lives_in_them():
    on = trial("multihead_attention")
    with pytest.raises(GraphError, match=r"'in_proj_weight.out.2' lives in its units: rescale that instead"):
        rescale(on.checkpoint, on.graph, {"in_proj_weight.out": torch.full((2,), 2.0)})


def test_an_inferred_graph_is_refused_and_says_what_to_do():
    on = trial("mlp")
    graph = infer_graph(on.checkpoint)
    assert scalable(graph) == {}
    with pytest.raises(GraphError, match=r"do not show the activations. Use trace_graph\(module, args\)"):
        rescale(
            on.checkpoint,
            graph,
            {axis.name: [2.0] * axis.size for axis in graph.axes.values() if "hidden" == axis.role},
        )


def test_factors_of_one_change_nothing():
    on = trial("lstm")
    same = rescale(on.checkpoint, on.graph, {"embedding.out": [1.0, 1.0]})
    assert on.moved(same) == []
