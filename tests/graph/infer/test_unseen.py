"""Relabelling by the graph of a file alone keeps what networks compute that inference was not developed on."""

import pytest
import torch

from tests.graph.infer.unseen.table import CASES
from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel

TOLERANCE = 1e-9


def flat(out):
    return [out] if torch.is_tensor(out) else [x for part in out for x in flat(part)]


def randomise(module, generator):
    """Draw weights, biases and norm statistics, so that no two units are alike."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                if "var" in name:
                    noise = 0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                elif tensor.ndim > 1:
                    noise = 1.5 * noise * (tensor.shape[0] / tensor.numel()) ** 0.5
                tensor.copy_(noise)


def stored(module, listed):
    """The state dict as a file would hold it: tied tensors once, in the order of the code or by alphabet."""
    state, kept, shared = module.state_dict(), {}, {}
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tensor.shape)
        if place in kept:
            shared[name] = kept[place]
        kept.setdefault(place, name)
    names = [name for name in (state if listed == "as written" else sorted(state)) if name not in shared]
    return Checkpoint({name: state[name].clone() for name in names}, shared=shared)


@pytest.mark.parametrize("listed", ["as written", "by alphabet"])
@pytest.mark.parametrize("sized", ["by default", "otherwise"])
@pytest.mark.parametrize("name", CASES)
def test_relabelling_by_the_file_alone_keeps_the_outputs(name, sized, listed):
    g, case = torch.Generator().manual_seed(0), CASES[name]
    module = case.build(**(case.sizes if sized == "otherwise" else {})).double().eval()
    randomise(module, g)
    checkpoint, inputs = stored(module, listed), case.inputs(g)
    graph = infer_graph(checkpoint)

    with torch.no_grad():
        before = flat(module(*inputs))
        for _ in range(2):
            moved = dict(relabel(checkpoint, graph, random_permutations(graph, generator=g)).tensors)
            module.load_state_dict(moved | {alias: moved[kept] for alias, kept in checkpoint.shared.items()})
            after = flat(module(*inputs))
            for a, b in zip(before, after, strict=True):
                assert (a - b).abs().max() <= TOLERANCE * a.abs().max()
    assert set(graph.blocks) == {name for name, t in checkpoint.tensors.items() if t.is_floating_point()}
