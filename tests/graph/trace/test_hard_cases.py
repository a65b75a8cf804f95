"""Modules in which ties are hard to see: each is relabelled in float64, and its free units are counted by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from weightspace.graph.check import check_graph
from weightspace.graph.trace import trace_graph


class Lambda(nn.Module):
    """Layers and a forward that uses them."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            if isinstance(layer, nn.Module):
                self.add_module(name, layer)
            elif isinstance(layer, nn.Parameter):
                self.register_parameter(name, layer)
            else:
                self.register_buffer(name, layer)

    def forward(self, *args):
        return self.run(self, *args)


def highway(m, x):
    h = m.inp(x)
    gate = torch.sigmoid(m.gate(h))
    return m.out(gate * torch.relu(m.body(h)) + (1 - gate) * h)


def mixer(m, x):  # (batch, tokens, width)
    h = m.embed(x)
    h = h + m.mix2(F.gelu(m.mix1(h.transpose(1, 2)))).transpose(1, 2)
    return m.out(h)


def dense(m, x):
    a = torch.relu(m.a(x))
    b = torch.relu(m.b(torch.cat([x, a], 1)))
    return m.out(torch.cat([x, a, b], 1).mean((2, 3)))


def group_norm(m, x):
    return m.out(torch.relu(m.norm(m.conv(x))).mean((2, 3)))


def next_block(m, x):
    h = m.stem(x)
    y = m.pw2(F.gelu(m.pw1(m.norm(m.dw(h).permute(0, 2, 3, 1)))))
    return m.out((h + (m.gamma * y).permute(0, 3, 1, 2)).mean((2, 3)))


def neox(m, x, heads=2, d=3):
    b, t, _ = x.shape
    q, k, v = m.qkv(x).view(b, t, heads, 3 * d).transpose(1, 2).chunk(3, -1)
    att = torch.softmax(q @ k.transpose(-1, -2), -1)
    return m.proj((att @ v).transpose(1, 2).reshape(b, t, -1))


def interleaved(m, x, heads=2, d=4):
    b, t, _ = x.shape
    q, k, v = (p(x).view(b, t, heads, d).transpose(1, 2) for p in (m.q, m.k, m.v))
    angle = torch.arange(t)[:, None] * m.freq

    def turn(y):
        even, odd = y.unflatten(-1, (d // 2, 2)).unbind(-1)
        return torch.stack(
            [even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()], -1
        ).flatten(-2)

    att = torch.softmax(turn(q) @ turn(k).transpose(-1, -2), -1)
    return m.proj((att @ v).transpose(1, 2).reshape(b, t, -1))


def shared_gain(m, x, heads=2, d=3):
    b, t, _ = x.shape
    q, k, v = (p(x).view(b, t, heads, d) for p in (m.q, m.k, m.v))
    q, k, v = (y.transpose(1, 2) for y in (m.gain * F.normalize(q, dim=-1), m.gain * F.normalize(k, dim=-1), v))
    return m.proj((torch.softmax(q @ k.transpose(-1, -2), -1) @ v).transpose(1, 2).reshape(b, t, -1))


def fused_gate(m, x):
    gate, up = m.fused(x).chunk(2, -1)
    return m.down(F.silu(gate) * up)


def shuffle(m, x):
    h = torch.relu(m.a(x))
    b, c, n, w = h.shape
    h = h.view(b, 2, c // 2, n, w).transpose(1, 2).reshape(b, c, n, w)
    return m.out(torch.relu(m.b(h)).mean((2, 3)))


def in_place(m, x):
    h = m.a(x)
    state = x.new_zeros(x.shape[0], 7)
    state[:, 2:6] = h
    return m.out(state)


def prelu(m, x):
    return m.out(m.act(m.inp(x)))


def channel_pick(m, x):
    h = m.inp(x)
    return m.out(torch.relu(h)) + h[:, 3:4]


def linear(a, b, bias=True):
    return nn.Linear(a, b, bias=bias)


images, rows, steps = (2, 3, 6, 6), (2, 5), (2, 4, 5)
# name: forward, layers, shape of the input, free units by hand
CASES = {
    "highway": (
        highway,
        {"inp": (linear, 5, 7), "gate": (linear, 7, 7), "body": (linear, 7, 7), "out": (linear, 7, 3)},
        rows,
        7,
    ),
    "token mixer": (
        mixer,
        {"embed": (linear, 5, 6), "mix1": (linear, 4, 9), "mix2": (linear, 9, 4), "out": (linear, 6, 3)},
        steps,
        6 + 9,
    ),
    "dense": (
        dense,
        {"a": (nn.Conv2d, 3, 4, 3, 1, 1), "b": (nn.Conv2d, 7, 5, 3, 1, 1), "out": (linear, 12, 2)},
        images,
        4 + 5,
    ),
    "group norm": (
        group_norm,
        {"conv": (nn.Conv2d, 3, 6, 3), "norm": (nn.GroupNorm, 2, 6), "out": (linear, 6, 2)},
        images,
        2 + 2 * 3,
    ),
    "convnext": (
        next_block,
        {
            "stem": (nn.Conv2d, 3, 6, 1),
            "dw": (nn.Conv2d, 6, 6, 3, 1, 1, 1, 6),
            "norm": (nn.LayerNorm, 6),
            "pw1": (linear, 6, 8),
            "pw2": (linear, 8, 6),
            "gamma": nn.Parameter(torch.ones(6)),
            "out": (linear, 6, 2),
        },
        images,
        6 + 8,
    ),
    "grouped convolution": (
        lambda m, x: m.out(torch.relu(m.b(torch.relu(m.a(x)))).mean((2, 3))),
        {"a": (nn.Conv2d, 3, 6, 3), "b": (nn.Conv2d, 6, 4, 3, 1, 0, 1, 2), "out": (linear, 4, 2)},
        images,
        2 + 2 * 3 + 2 * 2,
    ),
    "fused attention by heads": (neox, {"qkv": (linear, 5, 18), "proj": (linear, 6, 5)}, steps, 2 + 2 * 3 + 2 * 3),
    "interleaved rotary": (
        interleaved,
        {"q": (linear, 5, 8), "k": (linear, 5, 8), "v": (linear, 5, 8), "proj": (linear, 8, 5), "freq": torch.rand(2)},
        steps,
        2 + 2 + 2 * 4,  # frequencies are stored here: they move with the pairs of every head
    ),
    "gain shared by heads": (
        shared_gain,
        {n: (linear, 5, 6) for n in "qkv"} | {"proj": (linear, 6, 5), "gain": nn.Parameter(torch.ones(3))},
        steps,
        2 + 3 + 2 * 3,
    ),
    "fused gate and up": (fused_gate, {"fused": (linear, 5, 14), "down": (linear, 7, 3)}, rows, 7),
    "channel shuffle": (
        shuffle,
        {"a": (nn.Conv2d, 3, 6, 1), "b": (nn.Conv2d, 6, 4, 1, 1, 0, 1, 2), "out": (linear, 4, 2)},
        images,
        None,
    ),
    "pixel shuffle": (
        lambda m, x: m.b(torch.relu(F.pixel_shuffle(m.a(x), 2))),
        {"a": (nn.Conv2d, 3, 20, 1), "b": (nn.Conv2d, 5, 2, 1)},
        images,
        5,
    ),
    "in-place write": (in_place, {"a": (linear, 5, 4), "out": (linear, 7, 3)}, rows, 2 + 4),
    "prelu": (prelu, {"inp": (linear, 5, 7), "act": (nn.PReLU, 7), "out": (linear, 7, 3)}, rows, 7),
    "one channel picked": (channel_pick, {"inp": (linear, 5, 7), "out": (linear, 7, 1)}, rows, 7 - 1),
    "upsampling": (
        lambda m, x: m.b(F.interpolate(m.a(x), scale_factor=2, mode="nearest")),
        {"a": (nn.Conv2d, 3, 4, 1), "b": (nn.Conv2d, 4, 2, 1)},
        images,
        4,
    ),
    "bilinear upsampling": (
        lambda m, x: m.b(F.interpolate(m.a(x), scale_factor=2, mode="bilinear")),
        {"a": (nn.Conv2d, 3, 4, 1), "b": (nn.Conv2d, 4, 2, 1)},
        images,
        4,
    ),
    "instance norm": (
        lambda m, x: m.b(m.norm(m.a(x))),
        {"a": (nn.Conv2d, 3, 4, 1), "norm": (nn.InstanceNorm2d, 4, 1e-5, 0.1, True), "b": (nn.Conv2d, 4, 2, 1)},
        images,
        4,
    ),
    "rms norm": (
        lambda m, x: m.b(m.norm(m.a(x))),
        {"a": (linear, 5, 4), "norm": (nn.RMSNorm, 4), "b": (linear, 4, 2)},
        rows,
        4,
    ),
    "projected lstm": (
        lambda m, x: m.out(m.rnn(x)[0]),
        {"rnn": (lambda: nn.LSTM(5, 6, proj_size=3, batch_first=True),), "out": (linear, 3, 2)},
        steps,
        6 + 3,
    ),
    "convolution in time": (
        lambda m, x: m.out(torch.relu(m.b(torch.relu(m.a(x)))).amax(2)),
        {"a": (nn.Conv1d, 4, 6, 2), "b": (nn.Conv1d, 6, 7, 2), "out": (linear, 7, 2)},
        steps,
        6 + 7,
    ),
    "three dimensions": (
        lambda m, x: m.out(F.max_pool3d(torch.relu(m.a(x)), 2).flatten(1)),
        {"a": (nn.Conv3d, 1, 4, 1), "out": (linear, 4 * 8, 2)},
        (2, 1, 4, 4, 4),
        4,
    ),
    "heads that share one key, fused": (
        lambda m, x: m.out(shared_key(m.qkv(x))),
        {"qkv": (linear, 8, 15), "out": (linear, 9, 2)},
        (2, 5, 8),
        3 + 3 + 3,
    ),
    "layers used twice": (
        lambda m, x: m.out(torch.tanh(m.b(torch.tanh(m.b(m.a(x)))))),
        {"a": (linear, 5, 6), "b": (linear, 6, 6), "out": (linear, 6, 2)},
        rows,
        6,
    ),
    "sorted values": (lambda m, x: m.b(m.a(x).sort(-1).values), {"a": (linear, 5, 4), "b": (linear, 4, 2)}, rows, 0),
    "running sums": (lambda m, x: m.b(m.a(x).cumsum(-1)), {"a": (linear, 5, 4), "b": (linear, 4, 2)}, rows, 0),
    "distances have no rule": (
        lambda m, x: m.b(torch.cdist(m.a(x), m.centres)),
        {"a": (linear, 5, 4), "centres": nn.Parameter(torch.ones(3, 4)), "b": (linear, 3, 2)},
        rows,
        None,
    ),
}


def shared_key(fused):
    """Three query heads of three units, then one key and one value for all of them, as Falcon has them."""
    parts = fused.view(2, 5, 5, 3)
    q, k, v = parts[:, :, :-2].transpose(1, 2), parts[:, :, -2:-1].transpose(1, 2), parts[:, :, -1:].transpose(1, 2)
    return ((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2).flatten(2)


def build(layers):
    return {n: v[0](*v[1:]) if isinstance(v, tuple) else v for n, v in layers.items()}


@pytest.mark.parametrize("name", CASES)
def test_hard_case(name):
    forward, layers, shape, free = CASES[name]
    torch.manual_seed(0)
    module, args = Lambda(forward, **build(layers)), (torch.randn(shape),)
    graph = trace_graph(module, args)
    verdict = check_graph(graph, module, args)

    assert verdict.passed, str(verdict)
    if free is not None:
        assert graph.free_units == free, dict(graph.axes)
