"""How new weights are: their distance to the nearest that were learned from, by that of fresh trainings.

A decoder writes weights in its own way, so all that it makes is far from what was trained. What it makes is therefore
held against what it makes of training networks, by the distance of what it makes of fresh ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weightspace.audit.networks import Group
from weightspace.audit.weight_distance import Settled, nearest_weights
from weightspace.errors import AuditError
from weightspace.graph.trace import trace_program
from weightspace.graph.trace.program import Program

FRESH = 48
"""Fresh networks of an architecture that say how far a new one is."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Networks of one architecture to measure distances to.

    Args:
        networks: That were learned from, or reconstructions of them.
        runs: Of each.
        far: Distance of a fresh training, or of its reconstruction, to the nearest; the median.
    """

    networks: Settled
    runs: np.ndarray
    far: float


Yardsticks = Mapping[str, Sequence[Yardstick]]
"""By program: the training networks of it, and their reconstructions."""


def make_yardsticks(pairs: Sequence[tuple[Sequence[Group], np.ndarray, Sequence[Group]]]) -> dict[str, list[Yardstick]]:
    """Return what weights of each architecture are held against.

    Args:
        pairs: Networks that were learned from, the run of each of them, and fresh ones of the same making: training
            networks beside held-out ones, reconstructions beside those of held-out ones.
    """
    found: dict[str, list[Yardstick]] = {}
    for learned_from, runs, fresh in pairs:
        there = {group.program: group for group in fresh}
        for group in learned_from:
            graph = trace_program(Program.from_json(group.program))
            networks = Settled.of(group.weights, graph)
            far = np.inf
            if group.program in there:
                some = {name: tensor[:FRESH] for name, tensor in there[group.program].weights.items()}
                far = float(np.median(nearest_weights(Settled.of(some, graph), networks)))
            found.setdefault(group.program, []).append(Yardstick(networks, runs[group.places], far))
    return found


def weight_novelty(groups: Sequence[Group], runs: np.ndarray, yardsticks: Yardsticks) -> np.ndarray:
    """Return how new the weights of each network are: 0 for a copy, 1 for a fresh training.

    Args:
        groups: The networks in question.
        runs: Of all of them; a network of the same run does not count.
        yardsticks: What they are held against; of several, the one by which a network is least new.

    Raises:
        AuditError: Nothing of an architecture is known.
    """
    found = np.full(len(runs), np.inf)
    for group in groups:
        if group.program not in yardsticks:
            raise AuditError("no network of this architecture was learned from: none has weights to hold beside.")
        for stick in yardsticks[group.program]:
            mine = Settled.of(group.weights, stick.networks.graph)
            apart = runs[group.places][:, None] != stick.runs[None]
            share = nearest_weights(mine, stick.networks, apart) / stick.far
            found[group.places] = np.minimum(found[group.places], share)
    return found
