"""The summary of a latent table against one worked out by hand."""

import json

import pytest

from weightspace.inspect.coverage import coverage_sections, summarise
from weightspace.latents.table import LatentTable


def _row(name, vector, **changes):
    fine = {"weights": 10, "understood": 1.0, "free_units": 4, "nonfinite": 0, "error": ""}
    return {"id": name, "path": f"{name}.npz", "sha256": name, "vector": vector, **fine, **changes}


@pytest.fixture
def table():
    """Three latents on a line at 0, 1 and 3, and an input that failed between them."""
    failed = {"weights": None, "understood": None, "free_units": None, "nonfinite": None, "error": "cut off"}
    rows = [
        _row("a", [0.0, 0.0]),
        _row("bad", None, **failed),
        _row("b", [1.0, 0.0], understood=0.5),
        _row("c", [3.0, 0.0]),
    ]
    return LatentTable.from_rows(rows, encoder="e-1", graph_version=1, latent=2)


def test_counts_leave_out_what_failed(table):
    found = summarise(table)
    assert (found["checkpoints"], found["failed"], found["weights"]) == (4, 1, 30)
    assert (found["understood_mean"], found["understood_least"]) == (2.5 / 3, 0.5)
    assert not any("neighbours" in row for row in found["rows"])


def test_neighbours_are_those_on_the_line(table):
    found = summarise(table, neighbours=2)
    near = {r["id"]: [(n["id"], n["distance"]) for n in r.get("neighbours", [])] for r in found["rows"]}
    assert near == {"a": [("b", 1), ("c", 3)], "bad": [], "b": [("a", 1), ("c", 2)], "c": [("b", 2), ("a", 3)]}
    assert json.loads(json.dumps(found)) == found


def test_checkpoints_of_one_name_keep_their_own_neighbours():
    rows = [_row("x", [0.0]), _row("x", [10.0]), _row("near 0", [1.0]), _row("near 10", [9.0])]
    table = LatentTable.from_rows(rows, encoder="e-1", graph_version=1, latent=1)
    found = [row["neighbours"][0]["id"] for row in summarise(table, neighbours=1)["rows"]]
    assert found == ["near 0", "near 10", "x", "x"]


def test_tables_show_what_did_not_fail(table):
    about, coverage, near = coverage_sections(summarise(table, neighbours=1), title="t", shown=2)
    assert dict(about.rows)["checkpoints"] == "4 (1 failed)"
    assert dict(about.rows)["understood"].startswith("83.3% ") and about.title == "t"
    assert coverage.title == "coverage (the first 2 of 3; the file has all)"
    assert coverage.rows == (("a", "10", "100.0%", "4"), ("b", "10", "50.0%", "4"))
    assert near.rows == (("a", "b", "1"), ("b", "a", "1")) and near.columns == ("id", "nearest 1", "distance")


def test_a_table_of_failures_has_no_shares():
    table = LatentTable.from_rows([_row("bad", None, error="cut off")], encoder="e-1", graph_version=1, latent=1)
    found = summarise(table)
    assert (found["understood_mean"], found["understood_least"]) == (None, None)
    assert len(coverage_sections(found, title="t", shown=5)) == 1
