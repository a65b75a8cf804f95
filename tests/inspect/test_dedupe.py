"""Copies in disguise are found whatever was done to them, and networks that merely look alike are not."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.execute.module import from_module
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.symmetry.rescale import rescale
from weightspace.inspect.balance import balance_of
from weightspace.inspect.collection import Collection
from weightspace.inspect.dedupe import find_duplicates
from weightspace.inspect.peers import group_peers, relative_distance
from weightspace.inspect.rounding import grid_bits

HIDDEN = ("0.out", "2.out")


@cache
def network(seed, activation=nn.ReLU):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(6, 12), activation(), nn.Linear(12, 10), activation(), nn.Linear(10, 3))
    return from_module(module, (torch.zeros(2, 6),))


def relabelled(checkpoint, seed=0):
    graph = build_graph(checkpoint)
    return relabel(checkpoint, graph, random_permutations(graph, generator=torch.Generator().manual_seed(seed)))


def rescaled(checkpoint, seed=0):
    g = torch.Generator().manual_seed(seed)
    sizes = dict(zip(HIDDEN, (12, 10), strict=True))
    return rescale(
        checkpoint, build_graph(checkpoint), {a: torch.exp(torch.randn(n, generator=g)) for a, n in sizes.items()}
    )


def changed(checkpoint, change):
    return replace(checkpoint, tensors={name: change(tensor) for name, tensor in checkpoint.tensors.items()})


def noised(tensor, seed=5):
    return tensor + 0.01 * tensor.std() * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))


def rounded(tensor):
    step = tensor.abs().amax(-1, keepdim=True) / 127 if tensor.ndim > 1 else 1e-3
    return (tensor / step).round() * step if tensor.ndim > 1 else tensor


DISGUISES = {
    "exact": lambda c: c,
    "relabelled": relabelled,
    "relabelled + rescaled": lambda c: rescaled(relabelled(c)),
    "relabelled + noised or slightly trained": lambda c: changed(relabelled(c), noised),
    "relabelled + rounded to 8 bits": lambda c: changed(relabelled(c), rounded),
    "rounded to float16": lambda c: changed(c, lambda t: t.half()),
    "relabelled + rescaled + rounded to 8 bits": lambda c: changed(rescaled(relabelled(c)), rounded),
}


@pytest.mark.parametrize("kind", DISGUISES)
def test_a_copy_is_found_and_named_among_others(kind):
    others = {str(seed): network(seed) for seed in range(6)}
    found = find_duplicates(Collection({**others, "copy": DISGUISES[kind](others["3"])}))
    assert [(pair.a, pair.b, pair.kind) for pair in found.pairs] == [("3", "copy", kind)]
    assert found.groups == (("3", "copy"),)
    assert found.pairs[0].distance < 0.03


def test_independent_networks_and_broken_relabellings_are_no_copies():
    nets = {str(seed): network(seed) for seed in range(4)}
    broken = replace(nets["0"], tensors={**nets["0"].tensors, "0.weight": nets["0"].tensors["0.weight"].flip(0)})
    assert not find_duplicates(Collection({**nets, "broken": broken})).pairs


def test_factors_do_not_pass_where_the_activation_lets_none_pass():
    net = network(0, nn.GELU)
    bent = changed(net, lambda t: t.clone())
    bent = replace(
        bent, tensors={**bent.tensors, "0.weight": 3 * net.tensors["0.weight"], "2.weight": net.tensors["2.weight"] / 3}
    )
    assert not find_duplicates(Collection({"a": net, "b": bent})).pairs


def test_groups_join_through_a_third():
    net = network(1)
    nets = {"a": net, "b": relabelled(net, 1), "c": relabelled(net, 2), "d": network(2)}
    assert find_duplicates(Collection(nets)).groups == (("a", "b", "c"),)


def test_zeros_are_left_out():
    zero = changed(network(0), torch.zeros_like)
    assert not find_duplicates(Collection({"a": zero, "b": zero})).pairs


def test_balance_is_the_same_for_all_scales_and_keeps_what_is_balanced():
    net = changed(network(3), lambda t: t.double())
    graph, names = build_graph(net), tuple(net.tensors)
    balance = balance_of(graph, net, names)
    row = lambda c: np.concatenate([c.tensors[n].numpy().ravel() for n in names])  # noqa: E731
    a, b = balance.settle(np.stack([row(net), row(rescaled(net))]))
    assert relative_distance(row(net), row(rescaled(net))) > 0.3 and relative_distance(a, b) < 1e-7
    np.testing.assert_allclose(balance.settle(a[None])[0], a, atol=1e-7)


def test_profiles_bound_the_distance_from_below_and_ignore_labels():
    nets = {str(seed): network(seed) for seed in range(3)}
    nets["again"] = relabelled(nets["0"])
    (peers,) = group_peers(nets)
    profiles = peers.profiles(peers.rows)
    np.testing.assert_allclose(profiles[0], profiles[3], atol=1e-6)
    orders = peers.orders(peers.rows[0], peers.rows[1])
    aligned = np.linalg.norm(peers.moved(peers.rows[0], orders) - peers.rows[1])
    assert 0 < np.linalg.norm(profiles[0] - profiles[1]) <= aligned


def test_a_grid_is_recognised_with_its_bits_and_noise_is_not():
    g = torch.Generator().manual_seed(0)
    w = torch.randn(16, 40, generator=g).double()
    step = w.abs().amax(1, keepdim=True) / 7
    assert grid_bits(((w / step).round() * step).numpy()) == 4 and grid_bits(w.numpy()) is None


def test_only_equal_shapes_are_compared():
    bare = {name: Checkpoint(dict(network(seed).tensors)) for seed, name in enumerate("ab")}
    wide = Checkpoint({"0.weight": torch.ones(3, 2)})
    assert [group.ids for group in group_peers({**bare, "wide": wide})] == [("a", "b"), ("wide",)]
