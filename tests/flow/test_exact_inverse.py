"""Law 1: what a graph makes of a checkpoint goes back bit for bit, on built and on all real networks."""

from math import prod

import numpy as np
import pytest
import torch

from tests.architectures import ARCHITECTURES
from tests.real.table import GROUPS, PATHS
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint
from weightspace.execute.module import from_module
from weightspace.graph.axes import ParameterGraph
from weightspace.graph.build import build_graph
from weightspace.graph.infer import infer_graph
from weightspace.graph.kinds.view import from_block, to_block
from weightspace.graph.layout import segments
from weightspace.graph.symmetry.fit import fit_blocks
from weightspace.graph.symmetry.relabel import relabel


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Raw bytes, so that NaN, the sign of zero and dtypes without equality count."""
    return tensor.detach().contiguous().flatten().view(torch.uint8)


def rebuilt(checkpoint: Checkpoint, graph: ParameterGraph) -> dict[str, torch.Tensor]:
    """Every tensor, those of blocks by way of their canonical form."""
    tensors = dict(checkpoint.tensors)
    for name, block in fit_blocks(checkpoint, graph).items():
        tensor = tensors[name]
        canonical = to_block(tensor, block)
        sizes = [prod(n for n, v in zip(tensor.shape, block.view, strict=True) if v == x) for x in "oi"]
        taps = [n for n, v in zip(tensor.shape, block.view, strict=True) if v == "k"]
        assert list(canonical.shape) == [*sizes, *taps], name
        tensors[name] = from_block(canonical, block, tuple(tensor.shape))
    return tensors


def assert_exact(checkpoint: Checkpoint, graph: ParameterGraph) -> None:
    tensors = rebuilt(checkpoint, graph)
    assert tensors.keys() == checkpoint.tensors.keys()
    for name, tensor in checkpoint.tensors.items():
        assert (tensors[name].shape, tensors[name].dtype) == (tensor.shape, tensor.dtype)
        assert torch.equal(bits(tensors[name]), bits(tensor)), name
    terms = {term for block in graph.blocks.values() for term in block.dims}
    for term in terms:
        where = np.concatenate([s.positions for s in segments(graph, term)])
        assert np.array_equal(np.sort(where), np.arange(graph.length(term))), term
    floats = {n for n, t in checkpoint.tensors.items() if t.is_floating_point() and t.numel()}
    assert floats <= fit_blocks(checkpoint, graph).keys()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_sixteen_architectures_come_back(name):
    architecture = ARCHITECTURES[name]
    sizes = {**architecture.sizes, **{key: min(values) for key, values in architecture.draws.items()}}
    torch.manual_seed(0)
    checkpoint = from_module(architecture.build(**sizes), architecture.inputs(sizes))
    tensors = dict(checkpoint.tensors)
    odd = next(name for name, tensor in tensors.items() if tensor.ndim > 1 and tensor.numel() > 2)
    tensors[odd] = tensors[odd].clone()
    tensors[odd].view(-1)[:3] = torch.tensor([torch.nan, -0.0, torch.inf])
    checkpoint = Checkpoint(tensors, checkpoint.metadata, shared=checkpoint.shared)

    assert_exact(checkpoint, build_graph(checkpoint))
    assert_exact(checkpoint, infer_graph(checkpoint))


@pytest.mark.parametrize("group", dict.fromkeys(GROUPS.values()))
def test_real_checkpoints_come_back(group):
    for name in (name for name, of in GROUPS.items() if of == group):
        checkpoint = load_checkpoint(PATHS[name])
        assert_exact(checkpoint, build_graph(checkpoint))


def test_a_relabelling_that_keeps_every_unit_keeps_every_bit():
    architecture = ARCHITECTURES["llama"]
    checkpoint = from_module(architecture.build(**architecture.sizes), architecture.inputs(architecture.sizes))
    graph = build_graph(checkpoint)
    same = {axis.name: np.arange(axis.size) for axis in graph.axes.values() if axis.role == "hidden"}
    after = relabel(checkpoint, graph, same)
    assert all(torch.equal(bits(after.tensors[name]), bits(tensor)) for name, tensor in checkpoint.tensors.items())


def test_another_view_does_not_come_back():
    """The law can fail: a kernel written as if it were stored the other way round."""
    checkpoint = from_module(torch.nn.Linear(3, 4), (torch.zeros(1, 3),))
    graph = build_graph(checkpoint)
    block = graph.blocks["weight"]
    wrong = type(block)(block.tensor, block.kind, block.dims, block.view[::-1], block.size)
    tensor = checkpoint.tensors["weight"]
    assert not torch.equal(from_block(to_block(tensor, block), wrong, tuple(tensor.shape)), tensor)
