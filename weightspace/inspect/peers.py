"""Networks of one architecture as rows of numbers, and how far apart they are once their units match."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.graph.axes import Block, ParameterGraph, leaves
from weightspace.graph.build import build_graph
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.align import match_units
from weightspace.graph.symmetry.fit import fit_blocks
from weightspace.graph.symmetry.pieces import Cut, cut
from weightspace.graph.symmetry.relabel import relabel
from weightspace.inspect.balance import Balance, balance_of

POOLED = 512  # numbers that are kept of each sorted run of weights
Orders = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Peers:
    """Networks with the same tensors, by name and shape.

    Args:
        ids: Their names.
        checkpoints: The networks.
        graph: Of all of them.
    """

    ids: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    graph: ParameterGraph

    @cached_property
    def blocks(self) -> dict[str, Block]:
        """What is compared, by tensor: everything that training moves, so no running statistics and no counters."""
        first = self.checkpoints[0]
        return {
            name: block
            for name, block in fit_blocks(first, self.graph).items()
            if first.tensors[name].is_floating_point() and not block.kind.startswith("running") and block.size
        }

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each tensor lies in a row."""
        ends = np.cumsum([0, *(block.size for block in self.blocks.values())])
        return {name: slice(int(a), int(b)) for name, a, b in zip(self.blocks, ends, ends[1:], strict=False)}

    @cached_property
    def rows(self) -> np.ndarray:
        """Weights `(models, numbers)` as they are labelled and scaled."""
        return np.stack([self.row(checkpoint) for checkpoint in self.checkpoints])

    def row(self, checkpoint: Checkpoint) -> np.ndarray:
        """Lay out one network."""
        parts = [checkpoint.tensors[name].double().numpy().ravel() for name in self.blocks]
        return np.concatenate(parts) if parts else np.zeros(0)

    def places(self, kind: str) -> np.ndarray:
        """Return which numbers are a `bias` (near zero at the start), read any `unit`, or the network's `input`."""
        chosen = np.zeros(self.rows.shape[1], bool)
        for name, block in self.blocks.items():
            reads = [self.graph.axes[leaf.axis].role for leaf in leaves(block.in_axis)] if block.in_axis else []
            fits = {"bias": "bias" in block.kind, "unit": bool(reads), "input": "input" in reads}[kind]
            chosen[self.slices[name]] = fits
        return chosen

    @cached_property
    def balance(self) -> tuple[Balance, ...]:
        """How each network is rescaled; networks without a program take the one that all the others carry."""
        texts = [c.metadata.get("architecture", "") for c in self.checkpoints]
        carried = [text for text in dict.fromkeys(texts) if text]
        known: dict[str, Balance] = {}
        for text in dict.fromkeys(texts):
            chosen = carried[0] if not text and len(carried) == 1 else text
            if chosen not in known:
                like = next(c for c, t in zip(self.checkpoints, texts, strict=True) if t == chosen)
                known[chosen] = balance_of(build_graph(like), like, tuple(self.blocks))
            known[text] = known[chosen]
        return tuple(known[text] for text in texts)

    @cached_property
    def balanced(self) -> np.ndarray:
        """Weights `(models, numbers)` with every unit rescaled so that it writes as much as it reads."""
        rows = self.rows.copy()
        for balance in dict.fromkeys(self.balance):
            chosen = np.array([own is balance for own in self.balance])
            rows[chosen] = balance.settle(self.rows[chosen])
        return rows

    @cached_property
    def cut(self) -> Cut:
        """The graph in pieces, each factor of a dimension a dimension of its own."""
        return cut(self.graph)

    def profiles(self, rows: np.ndarray) -> np.ndarray:
        """Return rows whose distances are lower bounds of the distance under any relabelling.

        Weights are sorted along all hidden axes, apart for each position of the others (taps, inputs, outputs):
        sorting both sides minimises the distance over all permutations of the numbers, those of units among them.
        Long runs are pooled, `sum / sqrt(n)`, which shortens distances once more. The same for every relabelling.

        Args:
            rows: `(models, numbers)`.

        Source:
            Hardy, Littlewood and Polya (1934), "Inequalities", section 10.2 (rearrangement).
        """
        parts = [self._sorted(rows, name) for name in self.blocks]
        return np.concatenate([part for found in parts for part in found], axis=1).astype(np.float32)

    def _sorted(self, rows: np.ndarray, name: str) -> Iterator[np.ndarray]:
        block = self.blocks[name]
        shape = tuple(map(self.graph.length, block.dims))
        stored = rows[:, self.slices[name]]
        pieces = [piece for piece in self.cut.pieces if piece.block.tensor == block.tensor]
        if not pieces:
            yield stored
            return
        whole = np.moveaxis(stored.reshape(len(rows), *shape), 0, -1)
        for piece in pieces:
            part = piece.of(whole)
            free = sorted({own[-1] for _, own in piece.units})
            fixed = [d for d in range(part.ndim - 1) if d not in free]
            runs = part.transpose(part.ndim - 1, *fixed, *free)
            runs = np.sort(runs.reshape(len(rows), int(np.prod([part.shape[d] for d in fixed])), -1), axis=-1)
            yield _pool(runs).reshape(len(rows), -1)

    @cached_property
    def reading(self) -> np.ndarray:
        """Numbers by which networks are told to be kin: those that read units, or all if there are none.

        Biases of the last layer alike, as those of collapsed networks on the same classes, make no kin.
        """
        found = self.places("unit")
        return found if found.any() else np.ones_like(found)

    def orders(self, a: np.ndarray, b: np.ndarray) -> Orders:
        """Return the permutations that match the units of row `a` to those of row `b`."""
        return match_units(self.as_checkpoint(a), self.as_checkpoint(b), self.graph)

    def moved(self, row: np.ndarray, orders: Orders) -> np.ndarray:
        """Relabel a row."""
        return self.row(relabel(self.as_checkpoint(row), self.graph, orders)) if orders else row

    def as_checkpoint(self, row: np.ndarray) -> Checkpoint:
        """Return a row as a network, with the running statistics of the first."""
        first = self.checkpoints[0]
        parts = {
            name: torch.from_numpy(np.ascontiguousarray(row[part])).reshape(first.tensors[name].shape)
            for name, part in self.slices.items()
        }
        return replace(first, tensors={**first.tensors, **parts})


def group_peers(checkpoints: Mapping[str, Checkpoint]) -> list[Peers]:
    """Group networks by the names and shapes of their tensors; only such networks are compared unit by unit."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, checkpoint in checkpoints.items():
        infos = checkpoint.header.tensors
        key = tuple(sorted((tensor, tuple(info.shape)) for tensor, info in infos.items()))
        groups.setdefault(key, []).append(name)
    return [_peers(names, checkpoints) for names in groups.values()]


def _peers(names: list[str], checkpoints: Mapping[str, Checkpoint]) -> Peers:
    found = [checkpoints[name] for name in names]
    first = next((c for c in found if c.metadata.get("architecture")), found[0])
    graph = build_graph(first)
    if any(set(graph.blocks) - set(c.tensors) - set(c.shared) for c in found):
        graph = infer_graph(first.header)
    return Peers(tuple(names), tuple(found), graph)


def relative_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two rows over the geometric mean of their lengths; 0 for two of zeros."""
    size = float(np.sqrt(np.linalg.norm(a) * np.linalg.norm(b)))
    apart = float(np.linalg.norm(a - b))
    return apart / size if size else float(apart > 0)


def relative_distances(rows: np.ndarray) -> np.ndarray:
    """Return all `relative_distance`s `(models, models)`, by inner products."""
    square = np.einsum("mn,mn->m", rows, rows, dtype=np.float64)
    apart = square[:, None] + square[None] - 2 * (rows @ rows.T)
    size = np.sqrt(np.sqrt(square[:, None] * square[None]))
    np.fill_diagonal(apart, 0.0)
    return np.sqrt(np.maximum(apart, 0.0)) / np.where(size > 0, size, 1.0)


def moved_share(orders: Orders) -> float:
    """Share of units that are not where they were; 0 where there are no hidden units."""
    wrong = [np.asarray(order) != np.arange(order.shape[-1]) for order in orders.values()]
    return float(np.concatenate([w.ravel() for w in wrong]).mean()) if wrong else 0.0


def _pool(runs: np.ndarray) -> np.ndarray:
    """Sum neighbours in long runs `(models, fixed, run)`, over the root of how many they are."""
    length = runs.shape[-1]
    if length <= POOLED:
        return runs
    starts = np.linspace(0, length, POOLED, endpoint=False).astype(np.int64)
    sizes = np.diff([*starts, length])
    return np.add.reduceat(runs, starts, axis=-1) / np.sqrt(sizes)
