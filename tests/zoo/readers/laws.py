"""What every reader must keep."""

import torch

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel


def doubled(checkpoint):
    """The same weights in float64."""
    return Checkpoint({name: tensor.double() for name, tensor in checkpoint.tensors.items()})


def one_of_each(population):
    """The id of one checkpoint of each architecture; the others have the same names and shapes."""
    return population.frame(["id", "architecture"]).drop_duplicates("architecture")["id"]


def check_everything_is_understood(population):
    """Names and shapes alone suffice for every weight."""
    for identity in one_of_each(population):
        assert build_graph(population.checkpoint(identity)).understood == 1.0, identity


def check_relabelling_keeps(population, run, *, seed=0):
    """`run(tensors)` is the same after every hidden axis of the inferred graph was reordered; some order differs."""
    generator = torch.Generator().manual_seed(seed)
    for identity in one_of_each(population):
        checkpoint = doubled(population.checkpoint(identity))
        graph = build_graph(checkpoint)
        other = relabel(checkpoint, graph, random_permutations(graph, generator=generator))
        assert any(not torch.equal(other.tensors[name], tensor) for name, tensor in checkpoint.tensors.items())
        torch.testing.assert_close(run(other.tensors), run(checkpoint.tensors), rtol=1e-9, atol=1e-9)


def check_weights(population, published):
    """All of `published` are there under their ids, bit for bit, with their dtype, and nothing else."""
    assert sorted(population.frame(["id"])["id"]) == sorted(published)
    assert population.verify() == len(published)
    for identity, tensors in published.items():
        found = population.checkpoint(identity).tensors
        assert set(found) == set(tensors)
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), (identity, name)


def check_runs_lie_in_one_split(population):
    """No run is torn."""
    frame = population.frame(["run", "split"])
    assert (frame.groupby("run")["split"].nunique() == 1).all()
    assert set(frame["split"]) <= {"train", "validation", "test"}
