"""Families are found, stay apart, and run from parents to children."""

import networkx as nx
import numpy as np
import pytest
import torch

from weightspace.inspect.collection import Collection, population_checkpoints, read_checkpoint, read_collection
from weightspace.inspect.lineage import trace_lineage
from weightspace.inspect.lineage_picture import draw_svg, lineage_sections, write_graphml
from weightspace.zoo.store import find_population


@pytest.fixture(scope="module")
def population():
    return find_population("lineage")


@pytest.fixture(scope="module")
def two_trees(population):
    """26 networks of two trees, under numbers in a random order; true edges and roots in these numbers."""
    rows = population.frame(["id", "parent", "run", "architecture"])
    many = rows.groupby("architecture", observed=True)["run"].unique()
    runs = next(list(runs)[:2] for runs in many if len(runs) > 1)
    rows = rows[rows["run"].isin(runs)].set_index("id")
    order = np.random.default_rng(3).permutation(rows.index.to_numpy())
    number = {identity: str(n) for n, identity in enumerate(order)}
    checkpoints = population_checkpoints(population, list(order))
    parents = {i: p.split() if isinstance(p, str) else [] for i, p in rows["parent"].items()}
    edges = {(number[p], number[child]) for child, ps in parents.items() for p in ps}
    roots = {number[i] for i, ps in parents.items() if not ps}
    return {number[i]: c for i, c in checkpoints.items()}, edges, roots


@pytest.fixture(scope="module")
def traced(two_trees):
    return trace_lineage(Collection(two_trees[0]))


def test_the_trees_of_a_population_are_recovered(two_trees, traced):
    _, edges, roots = two_trees
    said = {(edge.parent, edge.child) for edge in traced.edges}
    assert len(said & edges) >= 0.9 * len(edges) and len(said) == len(edges)
    assert set(traced.roots) == roots
    assert {edge.operation for edge in traced.edges} == {"trained", "pruned", "quantised", "merged", "relabelled"}


def test_both_parents_of_each_merge(two_trees, traced):
    merged = [child for child in traced.nodes if sum(edge.child == child for edge in traced.edges) == 2]
    true = [child for child in traced.nodes if sum(c == child for _, c in two_trees[1]) == 2]
    assert sorted(merged) == sorted(true) and len(true) == 2


def test_every_edge_is_as_sure_as_it_may_be(traced):
    assert all(0 <= edge.confidence <= 1 and 0 <= edge.direction <= 1 for edge in traced.edges)
    assert nx.is_directed_acyclic_graph(traced.graph)


def test_networks_trained_apart_are_not_joined(population):
    rows = population.frame(["id", "node"])
    roots = list(rows["id"][rows["node"] == "root"])
    found = trace_lineage(Collection(population_checkpoints(population, roots)))
    assert found.edges == () and len(found.roots) == len(roots) == 8


def test_noise_in_place_of_a_child_is_no_kin(two_trees):
    (name, net), *_ = two_trees[0].items()
    g = torch.Generator().manual_seed(0)
    mixed = {n: t.flatten()[torch.randperm(t.numel(), generator=g)].view_as(t) for n, t in net.tensors.items()}
    assert not trace_lineage(Collection({name: net, "mixed": type(net)(mixed, net.metadata)})).edges


def test_text_graphml_and_picture_hold_every_edge(traced, tmp_path):
    (section,) = lineage_sections(traced)
    assert len(section.rows) == len(traced.nodes) and sum(row[1] == "root" for row in section.rows) == 2
    write_graphml(traced, tmp_path / "l.graphml")
    again = nx.read_graphml(tmp_path / "l.graphml")
    assert set(again.edges) == {(edge.parent, edge.child) for edge in traced.edges}
    picture = draw_svg(traced)
    assert picture.count("<title>") == len(traced.edges) and picture.count("<circle") == len(traced.nodes)


def test_names_are_escaped_in_the_picture(two_trees):
    nets = list(two_trees[0].values())
    found = trace_lineage(Collection({"<b>&": nets[0], 'a"': nets[0], "c": nets[1]}))
    assert "<b>" not in draw_svg(found) and "&lt;b&gt;&amp;" in draw_svg(found)


def test_a_population_and_what_is_wrong_are_read(tmp_path, population):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    found = read_collection(["lineage", str(bad)])
    assert len(found.checkpoints) == len(population) and list(found.problems) == [str(bad)]
    identity = next(iter(population.frame(["id"])["id"]))
    again = read_checkpoint(f"lineage:{identity}")
    assert all(torch.equal(again.tensors[n], t) for n, t in found.checkpoints[identity].tensors.items())


def test_numbers_that_are_not_finite_are_a_problem_not_a_copy(two_trees):
    net = next(iter(two_trees[0].values()))
    broken = type(net)({n: torch.full_like(t, float("nan")) for n, t in net.tensors.items()}, source="broken")
    assert "not finite" in read_collection([net, broken]).problems["broken"]
