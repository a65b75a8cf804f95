"""What operations over several numbers demand of powers, see `powers`: products, norms, reductions, pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from weightspace.graph.scaling import MODES, Mode
from weightspace.graph.trace.literals import Ref
from weightspace.graph.trace.power_numbers import add_up, result
from weightspace.graph.trace.powers import Powers
from weightspace.graph.trace.program import Node

Rule = Callable[..., None]


def matmul(powers: Powers, node: Node, a: Ref, b: Ref) -> None:
    """What is contracted must cancel; batch dimensions multiply."""
    out = result(powers, node)
    if a in powers.zeros or b in powers.zeros:
        powers.zeros.add(out)
        return
    left, right, after = powers.of(a), powers.of(b), powers.of(out)
    powers.total([(left[-1], 1), (right[-2], 1)])
    powers.same(left[-2], after[-2])
    powers.same(right[-1], after[-1])
    for d in range(len(after) - 2):
        powers.total([(left[d], 1), (right[d], 1), (after[d], -1)])


def addmm(powers: Powers, node: Node, bias: Ref, a: Ref, b: Ref, **_: Any) -> None:
    """A matrix product and a bias."""
    if a in powers.zeros or b in powers.zeros:
        return add_up(powers, node, [bias], MODES)
    matmul(powers, node, a, b)
    return add_up(powers, node, [bias], MODES)


def convolution(powers: Powers, node: Node, x: Ref, w: Ref, bias: Ref | None, *how: Any) -> None:
    """Input channels cancel, output channels are those of the kernel, groups multiply."""
    transposed, groups = how[3], how[5]
    source, kernel, out = powers.of(x), powers.of(w), powers.of(result(powers, node))
    inner, outer = (kernel[0], kernel[1]) if transposed else (kernel[1], kernel[0])
    read, written = powers.grouped(x, 1, groups), powers.grouped(result(powers, node), 1, groups)
    stored = powers.grouped(w, 0, groups)
    if read is None or written is None or stored is None:
        return powers.bar(node)
    if groups > 1:
        inner, outer = (stored[1], outer) if transposed else (inner, stored[1])
        powers.total([(read[0], 1), (stored[0], 1), (written[0], -1)])
    powers.total([(read[1], 1), (inner, 1)])
    powers.same(outer, written[1])
    powers.same(source[0], out[0])
    powers.pin((*source[2:], *kernel[2:], *out[2:]))
    if bias is not None:
        powers.same(powers.of(bias)[0], out[1])
    return None


def embedding(powers: Powers, node: Node, weight: Ref, index: Ref, *_: Any) -> None:
    """Rows of a table."""
    out, table = powers.of(result(powers, node)), powers.of(weight)
    powers.carry(table, out, [(d, len(out) - len(table) + d) for d in range(1, len(table))])
    powers.pin_all([index])


def batch_norm(powers: Powers, node: Node, x: Ref, w: Any, b: Any, *stored: Any) -> None:
    """Statistics are those of the input, so that its scale is lost up to epsilon; the affine part scales anew."""
    _norm(powers, node, x, (w, b), 1)
    powers.pin_all(ref for ref in stored if isinstance(ref, Ref))


def layer_norm(powers: Powers, node: Node, x: Ref, shape: Sequence[int], w: Any = None, b: Any = None, *_: Any) -> None:
    """As batch norm, over the last dimensions."""
    _norm(powers, node, x, (w, b), len(powers.of(x)) - len(shape))


def rms_norm(powers: Powers, node: Node, x: Ref, shape: Sequence[int], w: Any = None, *_: Any) -> None:
    """Without a shift."""
    layer_norm(powers, node, x, shape, w)


def group_norm(powers: Powers, node: Node, x: Ref, w: Any, b: Any, *_: Any) -> None:
    """Over the channels of a group."""
    _norm(powers, node, x, (w, b), 1)


def _norm(powers: Powers, node: Node, x: Ref, affine: tuple[Any, Any], first: int) -> None:
    out = powers.of(result(powers, node))
    powers.pin_all([x, *(result(powers, node, i) for i in range(1, len(node.values)))])
    count = len(powers.of(affine[0])) if isinstance(affine[0], Ref) else 0
    powers.pin(spots for d, spots in enumerate(out) if not first <= d < first + count)
    for param in affine:
        if isinstance(param, Ref):
            for d, spots in enumerate(powers.of(param)):
                powers.same(spots, out[first + d])


def reduction(modes: Sequence[Mode]) -> Rule:
    """Rule of one number from all positions of some dimensions: what varies along those cannot be scaled."""

    def rule(powers: Powers, node: Node, x: Ref, dims: Any = None, *_: Any, **named: Any) -> None:
        given, out = powers.of(x), powers.of(result(powers, node))
        dims = named.get("dim", dims)
        gone = {d % len(given) for d in ((dims,) if isinstance(dims, int) else dims or range(len(given)))}
        kept = [d for d in range(len(given)) if d not in gone]
        at = kept if len(out) == len(given) else range(len(kept))
        powers.carry(given, out, zip(kept, at, strict=True))
        powers.pin((given[d] for d in kept), [mode for mode in MODES if mode not in modes])
        powers.pin_all(result(powers, node, i) for i in range(1, len(node.values)))

    return rule


def over(count: int, modes: Sequence[Mode] = MODES) -> Rule:
    """Rule of an operation over the last `count` dimensions, linear or a maximum."""

    def rule(powers: Powers, node: Node, x: Ref, *_: Any, **__: Any) -> None:
        given, out = powers.of(x), powers.of(result(powers, node))
        kept = range(len(given) - count)
        powers.carry(given, out, zip(kept, kept, strict=True))
        powers.pin((given[d] for d in kept), [mode for mode in MODES if mode not in modes])
        powers.pin_all(result(powers, node, i) for i in range(1, len(node.values)))

    return rule


_POSITIVE: tuple[Mode, ...] = ("positive",)
_RESIZED = ("avg_pool", "reflection_pad", "replication_pad")
MIXERS: dict[str, Rule] = {
    "aten.mm.default": matmul,
    "aten.bmm.default": matmul,
    "aten.addmm.default": addmm,
    "aten.convolution.default": convolution,
    "aten.embedding.default": embedding,
    "aten._native_batch_norm_legit_no_training.default": batch_norm,
    "aten._native_batch_norm_legit.no_stats": batch_norm,
    "aten.native_layer_norm.default": layer_norm,
    "aten._fused_rms_norm.default": rms_norm,
    "aten.native_group_norm.default": group_norm,
    **{f"aten.{name}": reduction(MODES) for name in ("mean.default", "mean.dim", "sum.default", "sum.dim_IntList")},
    **{f"aten.{name}.default": reduction(_POSITIVE) for name in ("amax", "amin")},
    **{f"aten.{name}": reduction(_POSITIVE) for name in ("max.dim", "min.dim")},
    "aten.max_pool1d.default": over(1, _POSITIVE),
    "aten.max_pool2d_with_indices.default": over(2, _POSITIVE),
    "aten.max_pool3d_with_indices.default": over(3, _POSITIVE),
    **{f"aten.{name}{n}d.default": over(n) for n in (1, 2, 3) for name in _RESIZED},
    "aten.adaptive_avg_pool1d.default": over(1),
    "aten._adaptive_avg_pool2d.default": over(2),
    "aten._adaptive_avg_pool3d.default": over(3),
    "aten.upsample_bilinear2d.vec": over(2),
    "aten.upsample_nearest2d.vec": over(2),
}
