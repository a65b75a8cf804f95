"""Distances and novelty of weights, and baselines made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator as Random

from weightspace.audit.baselines import BASELINES
from weightspace.audit.baselines.pool import Pool
from weightspace.audit.networks import Group
from weightspace.audit.weight_distance import Settled, nearest_weights
from weightspace.audit.weight_novelty import Making, make_yardsticks, weight_novelty
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.errors import AuditError
from weightspace.execute.stack import run_stacked, stack_tensors
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.symmetry.rescale import rescale
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.program import Program
from weightspace.zoo.store import find_population


@pytest.fixture(scope="module")
def nets():
    """Finished perceptrons of one architecture with ReLU, as a group and as a pool."""
    population = find_population("mlp_digits")
    frame = population.frame(where=[("snapshot", "==", 2), ("activation", "==", "relu")])
    rows = frame[frame["architecture"] == frame["architecture"].iloc[0]].iloc[:16]
    name = str(rows["architecture"].iloc[0])
    weights = {n: t.float() for n, t in population.stack(rows).items()}
    group = Group(np.arange(16), str(population.program(name)), population.module(name).eval(), weights)
    graph = trace_program(Program.from_json(group.program))
    return group, Pool(weights, rows["run"].astype(str).to_numpy(object), graph, group.module)


def hidden_copy(pool, row, seed=0):
    """The same function: hidden units in another order and at another scale."""
    draw = Random().manual_seed(seed)
    axes = {a.name: a.size for a in pool.graph.axes.values() if a.role == "hidden"}
    orders = {name: torch.randperm(size, generator=draw) for name, size in axes.items()}
    moved = relabel(pool.checkpoint(row), pool.graph, orders)
    return rescale(moved, pool.graph, {n: 0.5 + torch.rand(s, generator=draw) for n, s in axes.items()})


def settled(pool, checkpoints):
    return Settled.of(stack_tensors([c.tensors for c in checkpoints]), pool.graph)


def test_a_relabelled_and_rescaled_copy_is_at_distance_zero(nets):
    _, pool = nets
    everything = Settled.of(pool.weights, pool.graph)
    copies = settled(pool, [hidden_copy(pool, row, row) for row in range(4)])
    assert nearest_weights(copies, everything).max() < 1e-3
    broken = {n: t.clone() for n, t in hidden_copy(pool, 0).tensors.items()}
    first = next(n for n in broken if n.endswith("weight"))
    broken[first] = broken[first].roll(1, 0)
    assert nearest_weights(settled(pool, [Checkpoint(broken, {})]), everything)[0] > 0.3


def test_networks_of_the_same_run_and_what_is_farther_than_asked_do_not_count(nets):
    everything = Settled.of(nets[1].weights, nets[1].graph)
    apart = ~np.eye(16, dtype=bool)
    others = nearest_weights(everything, everything, apart)
    assert others.min() > 0.5
    assert np.isinf(nearest_weights(everything, everything, np.zeros((16, 16), bool))).all()
    np.testing.assert_allclose(nearest_weights(everything, everything, apart, within=np.full(16, 0.1)), 0.1)


def test_noise_is_as_far_as_it_is_large(nets):
    _, pool = nets
    made, origins = BASELINES["noise 0.1"](pool, 8, Random().manual_seed(0))
    far = nearest_weights(Settled.of(made, pool.graph), Settled.of(pool.weights, pool.graph))
    assert 0.05 < far.min() and far.max() < 0.15
    assert set(origins) <= set(pool.runs)


def test_a_copy_scores_zero_and_a_fresh_training_one(nets):
    group, pool = nets
    learned = Group(np.arange(8), group.program, group.module, {n: t[:8] for n, t in pool.weights.items()})
    fresh = Group(np.arange(8), group.program, group.module, {n: t[8:] for n, t in pool.weights.items()})
    accuracy = np.full(8, 0.9)
    sticks = make_yardsticks([Making([learned], pool.runs[:8], [fresh], accuracy)])
    names = np.array([f"new {i}" for i in range(8)], object)
    assert weight_novelty([learned], names, accuracy, sticks).max() < 1e-4
    assert weight_novelty([fresh], names, accuracy, sticks).mean() == pytest.approx(1, abs=0.02)
    assert weight_novelty([learned], pool.runs[:8], accuracy, sticks).min() > 0.5
    unknown = Group(np.arange(8), "another", group.module, fresh.weights)
    assert np.isnan(weight_novelty([unknown], names, accuracy, sticks)).all()


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_is_made_of_finite_networks_of_the_architecture(nets, name):
    _, pool = nets
    made, origins = BASELINES[name](pool, 5, Random().manual_seed(0))
    again, _ = BASELINES[name](pool, 5, Random().manual_seed(0))
    assert {n: t.shape[1:] for n, t in made.items()} == {n: t.shape[1:] for n, t in pool.weights.items()}
    assert all(len(t) == 5 and t.isfinite().all() and torch.equal(t, again[n]) for n, t in made.items())
    assert len(origins) == 5


def test_averaging_a_network_with_its_hidden_copy_keeps_the_function_once_aligned(nets):
    group, pool = nets
    orders = {a.name: torch.arange(a.size).flip(0) for a in pool.graph.axes.values() if a.role == "hidden"}
    pair = [pool.checkpoint(0), relabel(pool.checkpoint(0), pool.graph, orders)]
    weights = stack_tensors([c.tensors for c in pair])
    twins = Pool(weights, np.array(["a", "b"], object), pool.graph, pool.module)
    x = torch.randn(20, 1, 8, 8, generator=Random().manual_seed(0))
    wanted = run_stacked(group.module, {n: t[:1] for n, t in weights.items()}, x)
    aligned, _ = BASELINES["aligned interpolation"](twins, 1, Random().manual_seed(0))
    torch.testing.assert_close(run_stacked(group.module, aligned, x), wanted, rtol=1e-4, atol=1e-4)
    plain = {n: t.mean(0, keepdim=True) for n, t in weights.items()}
    assert (run_stacked(group.module, plain, x) - wanted).abs().max() > 0.1


def test_mixtures_and_gaussians_have_the_moments_of_aligned_networks(nets):
    _, pool = nets
    drawn, _ = BASELINES["Gaussian of weights"](pool, 4000, Random().manual_seed(0))
    for name, aligned in pool.to_first.items():
        torch.testing.assert_close(drawn[name].mean(0), aligned.mean(0), atol=0.1, rtol=0)
    mixed, _ = BASELINES["random affine mixtures"](pool, 50, Random().manual_seed(0))
    for name, aligned in pool.to_first.items():
        assert (mixed[name] <= aligned.amax(0) + 1e-5).all() and (mixed[name] >= aligned.amin(0) - 1e-5).all()


def test_nothing_to_make_baselines_of_is_named(nets):
    empty = {n: t[:0] for n, t in nets[1].weights.items()}
    with pytest.raises(AuditError, match="no training network meets the condition"):
        Pool(empty, np.zeros(0, object), nets[1].graph, nets[1].module)
