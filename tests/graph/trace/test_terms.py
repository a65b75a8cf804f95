"""Unification of terms: what splits, what must not, and that failure fixes instead of guessing."""

from weightspace.graph.trace.terms import UNIT, Leaf, Prod, Same, Sum, leaves, normal, resolve, size_of
from weightspace.graph.trace.unify import cut, divide, tie, unify


def shape_of(term):
    """A term as nested tuples of leaf identities, for comparison."""
    term = normal(term)
    if isinstance(term, Leaf):
        return id(term)
    return (type(term).__name__, *map(shape_of, term.parts))


def test_two_leaves_become_one_and_share_what_is_known():
    a, b = Leaf(4, roles={"input"}), Leaf(4, reason="why")
    assert unify(a, b)
    assert resolve(a) is resolve(b)
    assert resolve(b).roles == {"input"} and resolve(b).reason == "why"


def test_a_leaf_binds_to_a_product_and_back():
    flat, heads, units = Leaf(12), Leaf(3), Leaf(4)
    assert unify(flat, Prod((heads, units)))
    assert shape_of(flat) == ("Prod", id(heads), id(units))


def test_products_meet_in_their_common_refinement():
    # 12 * 5 as (12, 5) and as (3, 20): 12 = 3 * x, 20 = x * 5, so x has 4 units
    twelve, five, three, twenty = Leaf(12), Leaf(5), Leaf(3), Leaf(20)
    assert unify(Prod((twelve, five)), Prod((three, twenty)))
    assert [leaf.size for leaf in leaves(normal(twelve))] == [3, 4]
    assert shape_of(twenty) == ("Prod", id(list(leaves(twelve))[1]), id(resolve(five)))


def test_sums_meet_at_all_boundaries():
    # 2 | 6 and 5 | 3 cut eight positions at 2 and 5
    a, b, c, d = Leaf(2), Leaf(6), Leaf(5), Leaf(3)
    assert unify(Sum((a, b)), Sum((c, d)))
    assert [leaf.size for leaf in leaves(normal(b))] == [3, 3]
    assert shape_of(c) == ("Sum", id(resolve(a)), id(next(leaves(b))))


def test_a_sum_of_flattened_maps_factors():
    # concatenated channels, then flattened with 4 pixels: Sum(a, b) x 4 = Sum(a x 4, b x 4)
    a, b, pixels = Leaf(2), Leaf(3), Leaf(4)
    left, right = Leaf(8), Leaf(12)
    assert unify(Sum((left, right)), Prod((Sum((a, b)), pixels)))
    assert shape_of(left) == ("Prod", id(resolve(a)), id(resolve(pixels)))
    assert shape_of(right) == ("Prod", id(resolve(b)), id(resolve(pixels)))


def test_a_slice_inside_a_head_is_allowed():
    # NeoX: view(heads, 3 * units), then chunk: Prod[h, Sum[q, k, v]]
    heads, inner = Leaf(2), Leaf(9)
    first, rest = cut(inner, 3)
    second, third = cut(rest, 3)
    assert shape_of(Prod((heads, inner))) == ("Prod", id(heads), ("Sum", id(first), id(second), id(third)))


def test_three_by_four_never_equals_four_by_three():
    a, b, c, d = Leaf(3), Leaf(4), Leaf(4), Leaf(3)
    term = tie(Prod((a, b)), Prod((c, d)), "unlike")
    assert size_of(term) == 12
    assert all(leaf.reason == "unlike" for t in (a, b, c, d) for leaf in leaves(t))


def test_a_cut_through_a_unit_is_refused():
    assert cut(Prod((Leaf(3), Leaf(4))), 6) is None
    assert divide(Leaf(6), 4) is None


def test_repeated_values_and_single_positions_impose_nothing():
    a, one = Leaf(5), Leaf(1)
    assert unify(a, Same(5)) and a.bound is None
    assert tie(Same(5), a, "") is a
    assert unify(one, UNIT) and one.bound is None


def test_a_constant_fixes_what_it_meets_and_ties_nothing():
    constant, a, b = Leaf(4, "constant", loose=True), Leaf(4), Leaf(4)
    tie(a, constant, "")
    tie(constant, b, "")
    assert a.reason == b.reason == "constant"
    assert resolve(a) is not resolve(b)
