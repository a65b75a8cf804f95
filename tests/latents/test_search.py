"""The nearest rows are those of double precision, whatever is skipped on the way."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances

from tests.latents.rows import table_of
from weightspace.errors import TableError
from weightspace.latents import nearest
from weightspace.latents.nearest import NearestRows
from weightspace.latents.search import find_row, meets, neighbours, search
from weightspace.latents.table import LatentTable

REFERENCE = {"euclidean": euclidean_distances, "cosine": cosine_distances}


def naive(vectors, query, metric):
    """Every distance in double precision, sorted, ties by row."""
    x, q = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "cosine":
        x, q = x / np.linalg.norm(x, axis=1, keepdims=True), q / np.linalg.norm(q)
    squares = np.square(x - q).sum(1)
    away = squares / 2 if metric == "cosine" else np.sqrt(squares)
    order = np.lexsort((np.arange(len(away)), away))
    return order, away[order]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("spread", [1.0, 1e-5])
def test_blocks_find_what_a_full_sort_finds(monkeypatch, metric, spread):
    monkeypatch.setattr(nearest, "BLOCK", 64)
    monkeypatch.setattr(nearest, "QUERIES", 3)
    g = np.random.default_rng(0)
    centre = g.normal(size=24)  # with little spread around it, single precision cannot tell rows apart
    vectors = (centre + spread * g.normal(size=(500, 24))).astype(np.float32)
    queries = centre + spread * g.normal(size=(7, 24))
    rows, distances = NearestRows(table_of(vectors), metric).find(queries, 9)
    for query, row, distance in zip(queries, rows, distances, strict=True):
        order, away = naive(vectors, query, metric)
        np.testing.assert_array_equal(row, order[:9])
        np.testing.assert_allclose(distance, away[:9], rtol=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_are_those_of_scikit_learn(metric):
    vectors, query = np.random.default_rng(4).normal(size=(50, 6)).astype(np.float32), np.ones((1, 6))
    _, distances = NearestRows(table_of(vectors), metric).find(query, 9)
    np.testing.assert_allclose(distances[0], np.sort(REFERENCE[metric](query, vectors.astype(np.float64))[0])[:9])


def test_single_precision_alone_would_err():
    g = np.random.default_rng(0)
    centre = g.normal(size=24)
    vectors = (centre + 1e-5 * g.normal(size=(500, 24))).astype(np.float32)
    query = centre + 1e-5 * g.normal(size=24)
    single = np.square(vectors).sum(1) - 2 * vectors @ query.astype(np.float32)
    assert single.argsort(kind="stable")[:9].tolist() != naive(vectors, query, "euclidean")[0][:9].tolist()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_numbers_beyond_single_precision_are_measured(metric, scale):
    g = np.random.default_rng(1)
    vectors, queries = (scale * g.normal(size=(40, 5))).astype(np.float32), scale * g.normal(size=(2, 5))
    rows, _ = NearestRows(table_of(vectors), metric).find(queries, 4)
    for row, query in zip(rows, queries, strict=True):
        assert row.tolist() == naive(vectors, query, metric)[0][:4].tolist()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_ties_stand_in_the_order_of_rows_across_blocks(monkeypatch, metric):
    monkeypatch.setattr(nearest, "BLOCK", 5)
    vectors = np.tile(np.array([[1, 2], [2, 1]], np.float32), (12, 1))
    rows, distances = NearestRows(table_of(vectors), metric).find(np.array([[1.0, 2.0]]), 15)
    assert rows[0].tolist() == [*range(0, 24, 2), 1, 3, 5]
    assert (distances[0, :12] == 0).all() and (distances[0, 12:] > 0).all()


def test_a_row_is_left_out_of_its_own_list_and_its_copies_are_not():
    table = table_of(np.array([[0, 0], [3, 4], [0, 0], [0, 1]], np.float32))
    found = search(table, "net0", k=9)
    assert found["id"].tolist() == ["net2", "net3", "net1"]
    assert found["distance"].tolist() == [0, 1, 5] and found["rank"].tolist() == [1, 2, 3]
    assert search(table, np.zeros(2), k=2)["id"].tolist() == ["net0", "net2"]


def test_a_vector_of_zeros_has_cosine_zero():
    table = table_of(np.array([[0, 0], [3, 4], [-3, -4]], np.float32))
    found = search(table, np.array([3.0, 4.0]), metric="cosine")
    assert found["id"].tolist() == ["net1", "net0", "net2"]
    np.testing.assert_allclose(found["distance"], [0, 1, 2], atol=1e-15)
    with pytest.raises(TableError, match="has no direction"):
        search(table, "net0", metric="cosine")


def test_rows_without_a_vector_or_with_nan_are_never_found():
    table = table_of(np.array([[0, 0], [np.nan, 1], [1, 1], [2, 2]], np.float32), failed=[2])
    assert search(table, np.zeros(2))["id"].tolist() == ["net0", "net3"]
    with pytest.raises(TableError, match="'net2' holds no vector: damaged"):
        search(table, "net2")
    with pytest.raises(TableError, match="holds NaN"):
        search(table, "net1")
    with pytest.raises(TableError, match="none of the 2 rows holds a finite vector"):
        search(table_of(np.full((2, 2), np.nan, np.float32)), np.zeros(2))


def test_filters_are_those_of_the_frame():
    g = np.random.default_rng(2)
    table = table_of(g.normal(size=(300, 4)).astype(np.float32))
    score = np.where(g.random(300) < 0.1, np.nan, g.random(300))
    table = table.assign({"score": score.tolist(), "kind": g.choice(["a", "b"], 300).tolist()})
    where = [("score", ">", 0.5), ("kind", "!=", "a")]
    kept = (score > 0.5) & (table["kind"] != "a")
    np.testing.assert_array_equal(meets(table, where), kept)
    order, _ = naive(table.vectors, np.zeros(4), "euclidean")
    assert search(table, np.zeros(4), k=20, where=where)["row"].tolist() == [i for i in order if kept[i]][:20]
    assert search(table, np.zeros(4), where=[("score", ">", 2)]).empty
    assert len(search(table, np.zeros(4), k=500, where=where)) == kept.sum()


def test_every_neighbour_is_that_of_a_search():
    table = table_of(np.random.default_rng(3).normal(size=(30, 4)).astype(np.float32), failed=[4])
    found = neighbours(table, 3)
    for identity, same in found.groupby("id"):
        assert same["neighbour"].tolist() == search(table, identity, k=3)["id"].tolist()


def test_parts_of_tables_are_searched_where_they_lie():
    vectors = np.random.default_rng(5).normal(size=(40, 3)).astype(np.float32)
    whole = table_of(vectors, failed=[13, 30])
    part = LatentTable(whole.data.slice(10, 25))
    joined = LatentTable(whole.data.slice(0, 20)).append(LatentTable(whole.data.slice(20)))
    for table in (part, joined):
        kept = np.flatnonzero(table.fine)
        order, _ = naive(table.vectors[kept], np.zeros(3), "euclidean")
        assert search(table, np.zeros(3), k=40)["row"].tolist() == kept[order].tolist()


def test_what_cannot_be_searched_is_named():
    table = table_of(np.eye(3, dtype=np.float32)).assign({"score": [1.0, 2.0, 3.0]})
    with pytest.raises(TableError, match=r"0 rows have the id 'absent'.*such as net0, net1"):
        find_row(table, "absent")
    with pytest.raises(TableError, match="2 rows have the id 'net0'"):
        find_row(table.append(table), "net0")
    with pytest.raises(TableError, match="no column colour to filter by; there are id"):
        search(table, "net0", where=[("colour", "==", "red")])
    with pytest.raises(TableError, match="condition score > high does not fit its column, which holds double"):
        search(table, "net0", where=[("score", ">", "high")])
    with pytest.raises(TableError, match="query has 2 numbers, the table's vectors have 3"):
        search(table, np.zeros(2))
    with pytest.raises(TableError, match="k = 0"):
        search(table, "net0", k=0)
