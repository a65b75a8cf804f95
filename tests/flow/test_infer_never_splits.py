"""Law 4: whatever the file alone allows to relabel, the running module allows too; exact, without numbers.

A swap of the first two units and a cycle of all generate every permutation of an axis, so these two of each inferred
axis are taken, in each unit of its parent. What they do to a tensor must be what some relabelling of the traced axes
does: spans stay, units of one traced axis go to one place wherever they occur, units that are not free stay.
"""

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch

from tests.architectures import ARCHITECTURES
from tests.graph.infer.test_unseen import stored
from tests.graph.infer.unseen.table import CASES
from weightspace.graph.axes import Axis, Block, Leaf, ParameterGraph
from weightspace.graph.infer import infer_graph
from weightspace.graph.layout import digits_of, segments
from weightspace.graph.symmetry.orders import parent_sizes
from weightspace.graph.symmetry.relabel import dimension_sources
from weightspace.graph.trace import trace_graph

ENOUGH, OF_SIXTEEN = 0.8, 13


def generators(graph):
    """A swap and a cycle of each hidden axis, in one unit of its parents at a time."""
    for axis in graph.axes.values():
        if axis.role == "hidden" and axis.size > 1:
            above, still = parent_sizes(graph, axis.name), np.arange(axis.size)
            swap = np.concatenate(([1, 0], still[2:]))
            for at in product(*map(range, above)):
                for order in (swap, np.roll(still, 1)):
                    whole = np.broadcast_to(still, (*above, axis.size)).copy()
                    whole[at] = order
                    yield axis.name, whole


def split_by(traced, inferred, name, order):
    """Return why no traced relabelling does what this inferred one does; None if one does."""
    goes = {axis.name: np.full((*parent_sizes(traced, axis.name), axis.size), -1) for axis in traced.axes.values()}
    for tensor, block in traced.blocks.items():
        other = inferred.blocks.get(tensor)
        if other is None:
            continue
        sources = dimension_sources(inferred, other, {name: order}) if name in other.axes else [None] * len(other.dims)
        for d, (term, source) in enumerate(zip(block.dims, sources, strict=True)):
            still = np.arange(traced.length(term))
            old = still if source is None else source.ravel()
            assert old.shape == still.shape, "inferred axes of one dimension depend on no other"
            wrong = _follow(traced, term, old, goes)
            if wrong:
                return f"{tensor} dimension {d}: {wrong}"
    return None


def _follow(traced, term, old, goes):
    """Enter where the units of one dimension come from; return what contradicts."""
    for segment in segments(traced, term):
        place = np.full(len(old), -1)
        place[segment.positions] = np.arange(len(segment.positions))
        source = place[old[segment.positions]]
        if (source < 0).any():
            return "positions leave their part of a concatenation"
        digits = digits_of([traced.length(factor) for factor in segment.factors])
        for factor, digit in zip(segment.factors, digits, strict=True):
            axis = factor.axis if isinstance(factor, Leaf) else None
            if axis is None or traced.axes[axis].role != "hidden":
                if (digit[source] != digit).any():
                    return f"{axis or 'taps'} must stay, but move"
            elif not _agree(
                goes[axis], [segment.digits.get(p) for p in traced.lineage(axis)[:-1]], digit, digit[source]
            ):
                return f"units of {axis} go to two places"
    return None


def _agree(known, above, digit, source):
    """Enter `known[(*above, digit)] = source`, for all of a parent that is None; say whether nothing else is known."""
    free = [k for k, unit in enumerate(above) if unit is None]
    shape = (-1, *(1 for _ in free))
    index = []
    for k, unit in enumerate(above):
        spread = [1, *(known.shape[k] if f == k else 1 for f in free)]
        index.append(np.arange(known.shape[k]).reshape(spread) if unit is None else unit.reshape(shape))
    at = (*index, digit.reshape(shape))
    held = known[at]
    if ((held != -1) & (held != source.reshape(shape))).any():
        return False
    known[at] = np.broadcast_to(source.reshape(shape), held.shape)
    return bool((known[at] == source.reshape(shape)).all())


@cache
def traced_graph(name):
    """The module of one of the sixteen, or of the unseen ones, and its traced graph."""
    if name in ARCHITECTURES:
        sizes = ARCHITECTURES[name].sizes
        module, drawn = ARCHITECTURES[name].build(**sizes), ARCHITECTURES[name].inputs(sizes)
    else:
        module, drawn = CASES[name].build(), CASES[name].inputs(torch.Generator().manual_seed(0))
    inputs = tuple(x.float() if x.is_floating_point() else x for x in drawn)
    return module, trace_graph(module.eval(), inputs)


def compare(name, listed):
    """Assert that nothing is split; return how many of the traced free units are found."""
    module, traced = traced_graph(name)
    inferred = infer_graph(stored(module, listed))
    for axis, order in generators(inferred):
        found = split_by(traced, inferred, axis, order)
        assert found is None, f"{axis}: {found}"
    print(f"{name}, listed {listed}: {inferred.free_units} of {traced.free_units} free units found")
    return inferred.free_units / traced.free_units


@pytest.mark.parametrize("listed", ["as written", "by alphabet"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_inferred_relabelling_is_one_that_the_trace_forbids(name, listed):
    assert compare(name, listed) <= 1


def test_most_free_units_are_found():
    shares = {name: compare(name, "as written") for name in ARCHITECTURES}
    assert sum(share >= ENOUGH for share in shares.values()) >= OF_SIXTEEN, shares


@pytest.mark.slow
@pytest.mark.parametrize("listed", ["as written", "by alphabet"])
@pytest.mark.parametrize("name", CASES)
def test_nor_on_networks_never_seen(name, listed):
    assert compare(name, listed) <= 1


def test_a_tie_taken_apart_is_noticed():
    """The comparison can fail: one block of the inferred graph gets an axis of its own."""
    module, traced = traced_graph("mlp")
    inferred = infer_graph(stored(module, "as written"))
    block = inferred.blocks["0.bias"]
    loose = Block(block.tensor, block.kind, (Leaf("loose"),), block.view, block.size)
    axes = dict(inferred.axes) | {"loose": Axis("loose", block.size, "hidden")}
    wrong = ParameterGraph(axes, dict(inferred.blocks) | {block.tensor: loose}, inferred.stages, "infer")
    found = [split_by(traced, wrong, name, order) for name, order in generators(wrong) if name in ("loose", "0.out")]
    assert found and all("go to two places" in why for why in found)
