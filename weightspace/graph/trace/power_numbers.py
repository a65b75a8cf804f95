"""What operations on each number demand of the powers of their operands, see `powers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from weightspace.graph.scaling import MODES, Mode
from weightspace.graph.trace.literals import Ref
from weightspace.graph.trace.powers import Powers, Spots
from weightspace.graph.trace.program import Node
from weightspace.graph.trace.rules.pointwise import RULES as UNIFORM

Rule = Callable[..., None]


def result(powers: Powers, node: Node, item: int = 0) -> Ref:
    """Return what later operations call a result."""
    return Ref(node.name, item if len(node.values) > 1 else None)


def passes(modes: Sequence[Mode]) -> Rule:
    """Rule of an operation on each number: factors of these modes come out as they went in."""

    def rule(powers: Powers, node: Node, x: Ref, *_: Any, **__: Any) -> None:
        out = result(powers, node)
        for a, b in zip(powers.of(x), powers.of(out), strict=True):
            powers.same(a, b, modes)
        barred = [mode for mode in MODES if mode not in modes]
        powers.pin((*powers.of(x), *powers.of(out)), barred)
        if x in powers.zeros:
            powers.zeros.add(out)

    return rule


def forgets(modes: Sequence[Mode]) -> Rule:
    """Rule of an operation on each number whose result does not change at all under factors of these modes."""

    def rule(powers: Powers, node: Node, x: Ref, *_: Any, **__: Any) -> None:
        powers.pin(powers.of(x), [mode for mode in MODES if mode not in modes])
        powers.pin(powers.of(result(powers, node)))

    return rule


def absolute(powers: Powers, node: Node, x: Ref) -> None:
    """The sign is lost, the size is kept."""
    out = powers.of(result(powers, node))
    for a, b in zip(powers.of(x), out, strict=True):
        powers.same(a, b, ["positive"])
    powers.pin(out, ["sign"])


def clamp(powers: Powers, node: Node, x: Ref, *bounds: Any, **named: Any) -> None:
    """At zero only like a ReLU; between `-c` and `c` odd; else neither."""
    given = dict(zip(("min", "max"), bounds, strict=False)) | named
    least, most = (-1, 1) if node.op == "aten.hardtanh.default" else (None, None)
    low, high = given.get("min", least), given.get("max", most)
    low, high = -inf if low is None else low, inf if high is None else high
    modes: list[Mode] = ["positive"] if {low, high} <= {0, -inf, inf} else ["sign"] if low == -high else []
    passes(modes)(powers, node, x)


def compare(powers: Powers, node: Node, x: Ref, to: Any) -> None:
    """Whether numbers are above zero does not change under positive factors."""
    forgets(["positive"] if to == 0 else [])(powers, node, x)


def add(powers: Powers, node: Node, *terms: Any, **_: Any) -> None:
    """Sums: all terms carry what the sum carries; a constant carries nothing."""
    add_up(powers, node, [t for t in terms[:2] if not (isinstance(t, int | float) and t == 0)], MODES)


def choose(powers: Powers, node: Node, cond: Ref, *terms: Ref) -> None:
    """One or the other, where the choice does not depend on the factors."""
    powers.pin(powers.of(cond))
    add_up(powers, node, terms, MODES)


def larger(powers: Powers, node: Node, *terms: Ref) -> None:
    """The larger or smaller of two."""
    powers.pin((spots for ref in (*terms, result(powers, node)) for spots in powers.of(ref)), ["sign"])
    add_up(powers, node, terms, ["positive"])


def add_up(powers: Powers, node: Node, terms: Sequence[Any], modes: Sequence[Mode]) -> None:
    """Demand that all terms carry what the sum carries."""
    out = result(powers, node)
    real = [t for t in terms if t not in powers.zeros]
    for term in real:
        spots = powers.of(term) if isinstance(term, Ref) else []
        rank = len(powers.of(out))
        padded: list[Spots] = [[] for _ in range(rank - len(spots))] + spots
        for a, b in zip(padded, powers.of(out), strict=True):
            powers.same(a, b, modes)
    if not real:
        powers.zeros.add(out)


def multiply(powers: Powers, node: Node, a: Any, b: Any, sign: int = 1) -> None:
    """Powers add up in a product, a quotient subtracts them."""
    out = result(powers, node)
    if a in powers.zeros or b in powers.zeros:
        powers.zeros.add(out)
        return
    rank = len(powers.of(out))
    sides = [powers.of(x) if isinstance(x, Ref) else [] for x in (a, b)]
    for d in range(-rank, 0):
        present = [(x[d], s) for x, s in zip(sides, (1, sign), strict=True) if len(x) >= -d and x[d]]
        powers.total([*present, (powers.of(out)[d], -1)])


def divide(powers: Powers, node: Node, a: Any, b: Any, **named: Any) -> None:
    """A quotient; rounded down it lets no factor pass."""
    if named.get("rounding_mode"):
        return powers.bar(node)
    return multiply(powers, node, a, b, -1)


def power(powers: Powers, node: Node, x: Ref, exponent: Any) -> None:
    """A whole power multiplies the powers."""
    if not isinstance(exponent, int | float) or not float(exponent).is_integer():
        return powers.bar(node)
    for a, b in zip(powers.of(x), powers.of(result(powers, node)), strict=True):
        powers.total([(a, int(exponent)), (b, -1)])
    return None


def nothing(powers: Powers, node: Node, *_: Any, **__: Any) -> None:
    """Constants: they sit on no units; zeros are remembered."""
    values = [v for v in (*node.args, *node.kwargs.values()) if isinstance(v, int | float) and not isinstance(v, bool)]
    word = node.op.split(".")[1]
    filled = node.args[-1] if word in ("full", "full_like", "new_full", "scalar_tensor") and values else 1
    if word in ("zeros", "new_zeros") or (isinstance(filled, int | float) and filled == 0):
        powers.zeros.add(result(powers, node))


_POSITIVE: tuple[Mode, ...] = ("positive",)
_SIGN: tuple[Mode, ...] = ("sign",)
_ODD = ("tanh", "sin", "asin", "atan", "sinh", "asinh", "atanh", "erf")
_COMPARED = ("gt", "ge", "lt", "le", "eq", "ne")
NUMBERS: dict[str, Rule] = {
    **dict.fromkeys(UNIFORM, nothing),
    "aten.neg.default": passes(MODES),
    "aten.relu.default": passes(_POSITIVE),
    "aten.leaky_relu.default": passes(_POSITIVE),
    **{f"aten.{name}.default": passes(_SIGN) for name in _ODD},
    "aten.abs.default": absolute,
    "aten.cos.default": forgets(_SIGN),
    "aten.cosh.default": forgets(_SIGN),
    "aten.sign.default": forgets(_POSITIVE),
    "aten.hardtanh.default": clamp,
    "aten.clamp.default": clamp,
    **{f"aten.{name}.Scalar": compare for name in _COMPARED},
    "aten.where.self": choose,
    "aten.maximum.default": larger,
    "aten.minimum.default": larger,
    **{f"aten.{name}.{kind}": add for name in ("add", "sub") for kind in ("Tensor", "Scalar")},
    **{f"aten.mul.{kind}": multiply for kind in ("Tensor", "Scalar")},
    **{f"aten.div.{kind}": divide for kind in ("Tensor", "Scalar", "Tensor_mode", "Scalar_mode")},
    "aten.pow.Tensor_Scalar": power,
}
