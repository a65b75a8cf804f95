"""What one network of a family owes to another: copies, pruned, rounded and merged ones, and the way of training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from weightspace.inspect.families import Family
from weightspace.inspect.rounding import network_bits, stored_bits

SAME, SPARSER, KEPT, MIDDLE, ENDS = 5e-4, 0.02, 2e-3, 0.02, 0.1


@dataclass(frozen=True)
class Descent:
    """One edge of a lineage.

    Args:
        parent: Name of a checkpoint.
        child: Name of another.
        operation: `trained`, `pruned`, `quantised`, `merged`, `relabelled`, `rounded` or `copied`.
        distance: Of their weights once units are matched, relative to their size.
        confidence: That the two belong together, 0 to 1.
        direction: That the parent is the parent, 0 to 1; 0.5 says nothing.
    """

    parent: str
    child: str
    operation: str
    distance: float
    confidence: float
    direction: float


@dataclass(frozen=True, eq=False)
class Kinship:
    """Distances and traces within one family; members are numbered as in `family.members`."""

    family: Family

    @cached_property
    def energy(self) -> np.ndarray:
        """Squared length of each member."""
        return np.square(self.family.rows).sum(1)

    @cached_property
    def apart(self) -> np.ndarray:
        """Distances `(members, members)`."""
        rows = self.family.rows
        return np.stack([np.sqrt(np.square(rows - row).sum(1)) for row in rows])

    @cached_property
    def relative(self) -> np.ndarray:
        """Distances over the geometric mean of the two lengths."""
        size = np.sqrt(np.sqrt(np.outer(self.energy, self.energy)))
        return self.apart / np.where(size > 0, size, 1.0)

    @cached_property
    def zeros(self) -> np.ndarray:
        """Share of zeros of each member."""
        return (self.family.rows == 0).mean(1)

    def tensors(self, k: int) -> list[np.ndarray]:
        """Weights of a member as they are stored."""
        peers = self.family.peers
        return [peers.checkpoints[self.family.members[k]].tensors[name].double().numpy() for name in peers.blocks]

    @cached_property
    def bits(self) -> list[int | None]:
        """Bits of the grid that each member lies on."""
        return [network_bits(self.tensors(k)) for k in range(len(self.family.rows))]

    @cached_property
    def halves(self) -> list[bool]:
        """Whether each member holds numbers of half precision only."""
        return [stored_bits(self.tensors(k)) == 16 for k in range(len(self.family.rows))]

    def copies(self) -> dict[int, tuple[int, str, float]]:
        """For each copy: its original, the operation, and how sure the direction is.

        The original is the one whose labels most members share, then the one in higher precision, then the first.
        """
        shared = np.bincount(self.family.labels)[self.family.labels]
        order = sorted(range(len(shared)), key=lambda k: (-shared[k], self.halves[k], k))
        found: dict[int, tuple[int, str, float]] = {}
        for n, child in enumerate(order):
            near = [k for k in order[:n] if k not in found and self.relative[k, child] <= SAME]
            if near:
                parent = near[0]
                moved = self.family.labels[parent] != self.family.labels[child]
                rounded = self.halves[child] and not self.halves[parent]
                sure = 0.95 if shared[parent] > shared[child] or rounded else 0.5
                found[child] = parent, "relabelled" if moved else "rounded" if rounded else "copied", sure
        return found

    def derived(self, among: list[int]) -> dict[int, tuple[tuple[int, ...], str]]:
        """For each member that was made from others without training: its parents and the operation."""
        found: dict[int, tuple[tuple[int, ...], str]] = {}
        for child in among:
            others = [k for k in among if k != child and child not in found.get(k, ((), ""))[0]]
            for parents, operation in (self._pruned(child, others), self._rounded(child, others)):
                if parents and child not in found:
                    found[child] = parents, operation
        whole = [k for k in among if k not in found]
        for child in whole:
            parents = self._merged(child, [k for k in whole if k != child and k not in found])
            if parents:
                found[child] = parents, "merged"
        return found

    def _pruned(self, child: int, others: list[int]) -> tuple[tuple[int, ...], str]:
        """The denser network whose other weights are the same."""
        rows = self.family.rows
        support = rows[child] != 0
        fits = []
        for k in others:
            if self.zeros[child] - self.zeros[k] >= SPARSER:
                left = float(np.linalg.norm((rows[k] - rows[child])[support]))
                fits += [(left, k)] if left <= KEPT * np.sqrt(self.energy[child]) else []
        return ((min(fits)[1],), "pruned") if fits else ((), "")

    def _rounded(self, child: int, others: list[int]) -> tuple[tuple[int, ...], str]:
        """The nearest network, if the child lies on a grid that it does not lie on and is a rounding error away."""
        bits = self.bits[child]
        finer = [k for k in others if bits is not None and (self.bits[k] or 32) > bits]
        if not finer or bits is None:
            return (), ""
        parent = min(finer, key=lambda k: self.apart[k, child])
        return ((parent,), "quantised") if self.relative[parent, child] <= 2 / (2 ** (bits - 1) - 1) else ((), "")

    def _merged(self, child: int, others: list[int]) -> tuple[int, ...]:
        """The two networks between which the child lies in a straight line.

        With `c = a + t (b - a)` plus what is left over, all follows from the three distances.
        """
        if len(others) < 2:
            return ()
        near, square = self.apart[child, others] ** 2, self.apart[np.ix_(others, others)] ** 2
        wide = np.where(square > (KEPT**2) * self.energy[child], square, np.inf)
        t = (near[:, None] + square - near[None]) / (2 * wide)
        left = near[:, None] - t**2 * square
        fits = (t >= ENDS) & (t <= 1 - ENDS) & (left <= MIDDLE**2 * square)
        if not fits.any():
            return ()
        a, b = np.unravel_index(np.where(fits, left / wide, np.inf).argmin(), fits.shape)
        return tuple(sorted((others[a], others[b])))

    @cached_property
    def _parts(self) -> list[np.ndarray]:
        peers = self.family.peers
        everything = np.ones(self.family.rows.shape[1], bool)
        return [everything, peers.places("input"), peers.places("bias")]

    def growth(self, parent: int, child: int) -> tuple[float, float, float]:
        """Growth of the weights from parent to child: all, those that read the input, and biases; each -1 to 1.

        `(|c|^2 - |p|^2) / |c - p|^2`: training moves at right angles to what is there, or outwards, so about 1 or more
        from parent to child and about -1 or less the other way.
        """
        p, c = self.family.rows[parent], self.family.rows[child]
        return tuple(_growth(p[part], c[part]) for part in self._parts)  # type: ignore[return-value]


def _growth(parent: np.ndarray, child: np.ndarray) -> float:
    apart = float(np.square(child - parent).sum())
    return float(np.clip((np.square(child).sum() - np.square(parent).sum()) / apart, -1, 1)) if apart else 0.0
