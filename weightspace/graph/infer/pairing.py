"""Tensors whose names say nothing (`Variable_3`, `205`, a bias stored apart), given their module by order and shape."""

from __future__ import annotations

import re

from weightspace.graph.infer.names import natural
from weightspace.graph.kinds.layer import Group
from weightspace.graph.kinds.onnx_recurrent import is_triple

NAMELESS = re.compile(
    r"^((const_fold_opt|onnx_|variable|const|constant|initializer|arr|param|tensor)_*\d*|[a-z]|\d+)$", re.I
)


def pair(groups: list[Group]) -> list[Group]:
    """Return the modules with recurrent triples and lone biases put where they belong."""
    return _biases(_triples(groups))


def is_anonymous(group: Group) -> bool:
    """Whether it holds one tensor and its name shows no role."""
    role = next(iter(group.tensors))
    return len(group.tensors) == 1 and role == group.path.rsplit(".", 1)[-1] and bool(NAMELESS.match(role))


def _triples(groups: list[Group]) -> list[Group]:
    """Join W, R and B of an ONNX recurrent layer, whatever they are called, in the order of their names."""
    loose = sorted((g for g in groups if is_anonymous(g)), key=lambda g: natural(g.path))
    made: dict[str, Group] = {}
    taken: set[str] = set()
    for n in range(len(loose) - 2):
        three = loose[n : n + 3]
        if taken & {g.path for g in three}:
            continue
        for order in ((0, 1, 2), (1, 2, 0), (0, 2, 1), (2, 0, 1), (1, 0, 2), (2, 1, 0)):
            w, r, b = (next(iter(three[i].tensors.values())) for i in order)
            if is_triple(w, r, b):
                made[three[0].path] = Group(three[order[0]].path, {"onnx_w": w, "onnx_r": r, "onnx_b": b})
                taken |= {g.path for g in three}
                break
    return [made.get(g.path, g) for g in groups if g.path in made or g.path not in taken]


def _biases(groups: list[Group]) -> list[Group]:
    """Join lone biases with lone weights, in order, where a size fits."""
    lone = [g for g in groups if len(g.tensors) == 1]
    biases = [g for g in lone if _rank(g) == 1 and ("bias" in g.tensors or is_anonymous(g))]
    weights = [g for g in lone if _rank(g) > 1 and ("weight" in g.tensors or is_anonymous(g) or _is_module(g))]
    made: dict[str, Group] = {}
    taken: set[str] = set()
    for bias in sorted(biases, key=lambda g: natural(g.path)):
        info = next(iter(bias.tensors.values()))
        free = sorted((w for w in weights if w.path not in made), key=lambda g: natural(g.path))
        fits = [w for w in free if _fits(w, max(info.shape))]
        if fits:
            near = min(fits, key=lambda w: w.path.rpartition(".")[0] != bias.path.rpartition(".")[0])
            made[near.path] = Group(near.path, {"weight": next(iter(near.tensors.values())), "bias": info})
            taken.add(bias.path)
    kept = [made.get(g.path, g) for g in groups if g.path not in taken]
    return [_named(g) if g in weights else g for g in kept]


def _named(group: Group) -> Group:
    return Group(group.path, {"weight": next(iter(group.tensors.values()))})


def _is_module(group: Group) -> bool:
    """Whether a tensor is called by its layer's name alone (`final_fc`)."""
    return bool(re.search(r"(^|_)(fc|dense|linear|lin|conv|out|logits)\d*$", group.path.rsplit(".", 1)[-1], re.I))


def _rank(group: Group) -> int:
    return len(next(iter(group.tensors.values())).shape)


def _fits(weight: Group, size: int) -> bool:
    shape = next(iter(weight.tensors.values())).shape
    return size in (shape[0], shape[-1]) and len(shape) <= 5
