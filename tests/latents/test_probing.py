"""What a probe is said to read is there, holds for other runs, and is more than its memory."""

import numpy as np
import pytest

from tests.latents.rows import table_of
from weightspace.errors import TableError
from weightspace.latents.held_out import Task
from weightspace.latents.permutation import permutation_p, permute_groups
from weightspace.latents.probing import ProbeSettings, probe_property, probe_stages
from weightspace.latents.properties import read_property

QUICK = ProbeSettings(folds=4, seeds=2, permutations=49)


def runs_of(g, runs=60, each=3, width=8, apart=1.0):
    """Latents of snapshots: those of a run lie together, `apart` times as far from others as from each other."""
    centres = apart * g.normal(size=(runs, width))
    return np.repeat(centres, each, 0) + g.normal(size=(runs * each, width)), np.repeat(np.arange(runs), each)


def test_a_linear_property_is_read_and_a_random_one_is_not():
    g = np.random.default_rng(0)
    x, run = runs_of(g)
    table = table_of(x, run=run.tolist(), linear=(x[:, 0] - x[:, 1]).tolist(), random=g.normal(size=len(x)).tolist())
    linear, random = (probe_property(table, name, QUICK) for name in ("linear", "random"))
    assert linear.score > 0.95 and linear.tau > 0.9 and linear.p_value == 1 / 50 and linear.selectivity > 0.9
    assert random.score < 0.1 and random.p_value > 0.05
    assert (linear.rows, linear.groups, linear.by, linear.left_out) == (180, 60, "run", {})


def test_names_are_read_beside_the_commonest_one():
    g = np.random.default_rng(1)
    x, run = runs_of(g)
    names = np.where(x[:, 0] > 1, "rare", "common")
    found = probe_property(table_of(x, run=run.tolist(), name=names.tolist()), "name", QUICK)
    assert found.kind == "name" and found.tau is None
    assert found.chance == pytest.approx((names == "common").mean(), abs=0.02)
    assert found.score > found.chance + 0.1 and found.p_value == 1 / 50


def test_a_run_on_both_sides_would_give_its_property_away():
    g = np.random.default_rng(2)
    x, run = runs_of(g, width=100, apart=6.0)
    value = g.normal(size=60)[run].tolist()  # of the run alone, and nothing to do with where it lies
    by_run = probe_property(table_of(x, run=run.tolist(), value=value), "value", QUICK)
    by_row = probe_property(table_of(x, value=value), "value", QUICK)
    assert by_run.by == "run" and by_run.score < 0.1 and by_run.p_value > 0.05
    assert by_row.by == "row" and by_row.score > 0.5


def test_a_probe_that_remembers_runs_is_not_selective():
    g = np.random.default_rng(3)
    for apart, least, most in ((6.0, 0.5, 1.0), (0.0, -1.0, 0.1)):
        x, run = runs_of(g, width=100, apart=apart)
        table = table_of(x, run=run.tolist(), linear=x[:, 0].tolist())
        assert least < probe_property(table, "linear", QUICK).control < most


@pytest.mark.parametrize("names", [False, True])
def test_intervals_hold_nine_in_ten(names):
    g = np.random.default_rng(4)
    x, run = runs_of(g, runs=200)
    y = x[:, 0] + g.normal(size=len(x))
    values = np.where(y > 0, "up", "down").tolist() if names else y.tolist()
    found = probe_property(table_of(x, run=run.tolist(), y=values), "y", QUICK)
    assert found.coverage == pytest.approx(0.9, abs=0.03)
    assert found.margin == pytest.approx(1.3 if names else 1.645, abs=0.25)  # of a normal: 5 % on each side


@pytest.mark.parametrize("names", [False, True])
def test_a_property_that_runs_share_is_not_found_by_chance(names):
    """Whole runs change places: were rows permuted instead, what runs share would look like knowledge."""
    g = np.random.default_rng(5)
    found, naive = [], []
    for _ in range(40):
        x, run = runs_of(g, runs=20, each=6, apart=4.0)
        value = g.choice(["a", "b", "c"], 20)[run].astype(object) if names else g.normal(size=20)[run]
        for groups, kept in ((run, found), (np.arange(len(x)), naive)):
            task = Task(read_property(table_of(x, y=value.tolist()), "y"), x, value, groups, "run", {})
            folds = task.part_blindly(4)
            kept.append(permutation_p(x, value, groups, folds=folds, permutations=19, seed=0))
    assert np.mean(np.array(found) <= 0.1) <= 0.2 and np.mean(found) == pytest.approx(0.5, abs=0.12)
    assert np.mean(np.array(naive) <= 0.1) > 0.9


def test_groups_change_places_whole():
    g = np.random.default_rng(6)
    groups = g.permutation(np.repeat(np.arange(12), [1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 5, 5]))
    order = permute_groups(groups, g)
    assert sorted(order) == list(range(len(groups))) and (order != np.arange(len(groups))).any()
    for group in range(12):
        assert len(set(groups[order[groups == group]])) == 1


def test_each_stage_is_asked_alone():
    g = np.random.default_rng(7)
    x, run = runs_of(g)
    table = table_of(x, run=run.tolist(), depth=x[:, 0].tolist())
    missing = x.copy()
    missing[:30] = np.nan
    found = probe_stages(table, {"first": x[:, 1:], "last": x[:, :2], "some": missing}, "depth", QUICK)
    assert found["first"].score < 0.3 < 0.9 < found["last"].score
    assert found["some"].rows == 150 and found["some"].left_out == {"no vector": 30}
    with pytest.raises(TableError, match="stage 'first' has 5 rows, the table 180"):
        probe_stages(table, {"first": x[:5]}, "depth", QUICK)


def test_rows_that_cannot_be_used_are_counted():
    g = np.random.default_rng(8)
    x, run = runs_of(g)
    x[7] = np.nan
    names = np.where(x[:, 0] > 0, "up", "down").astype(object)
    names[[10, 11]], names[20] = None, "seldom"
    found = probe_property(table_of(x, failed=[0, 1], run=run.tolist(), name=names.tolist()), "name", QUICK)
    assert found.left_out == {"no vector": 3, "no value": 2, "rare name": 1} and found.rows == 174


def test_what_cannot_be_probed_is_named():
    g = np.random.default_rng(9)
    x, run = runs_of(g)
    nothing = [None] * len(x)
    table = table_of(x, run=run.tolist(), same=[3.0] * len(x), few=[1.0, 2.0, *nothing[2:]], none=nothing)
    with pytest.raises(TableError, match=r"column 'same' is 3\.0 in every row"):
        probe_property(table, "same", QUICK)
    with pytest.raises(TableError, match="no property 'colour'; it has id"):
        probe_property(table, "colour", QUICK)
    with pytest.raises(TableError, match=r"2 rows of 1 runs can be used \(left out: 178 no value\); it takes 8 runs"):
        probe_property(table, "few", QUICK)
    with pytest.raises(TableError, match="column 'none' has no value in any of 180 rows"):
        probe_property(table, "none", QUICK)
    with pytest.raises(TableError, match=r"is 1\.0 in every row"):
        probe_property(table_of(x[:1], y=[1.0]), "y", QUICK)
    with pytest.raises(TableError, match="holds list"):
        probe_property(table_of(x, lists=[[1.0]] * len(x)), "lists", QUICK)
