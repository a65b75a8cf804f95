"""A map keeps neighbourhoods and distances as it promises, comes back from its file, and takes new rows."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA

from tests.latents.tables import clusters
from weightspace.errors import TableError
from weightspace.latents.map import MAP, fit_map, read_map
from weightspace.latents.projection import project
from weightspace.latents.table import LatentTable

METHODS = ["pca", "tsne"]


def broken(table, rows, value):
    """The table with numbers in some vectors that are not finite."""
    vectors = table.vectors.copy()
    vectors[rows, 0] = value
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    at = table.columns.index("vector")
    return LatentTable(table.data.set_column(at, table.data.schema.field(at), column))


def purity(places, cluster):
    """Share of rows whose nearest other on the map is of their cluster."""
    apart = np.square(places[:, None] - places).sum(2)
    np.fill_diagonal(apart, np.inf)
    return (cluster[apart.argmin(1)] == cluster).mean()


@pytest.mark.parametrize("method", METHODS)
def test_clusters_stay_together_and_vectors_of_noise_do_not(method):
    cluster = np.arange(60) % 3
    assert purity(fit_map(clusters(), method=method).places, cluster) == 1
    noise = np.random.default_rng(0).normal(size=(60, 8))
    assert purity(project(noise, method=method)[0], cluster) < 0.7


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_gives_one_map(method):
    first, again = fit_map(clusters(), method=method, seed=3), fit_map(clusters(), method=method, seed=3)
    np.testing.assert_array_equal(first.places, again.places)


def test_pca_is_that_of_scikit_learn():
    table = clusters()
    want = PCA(2).fit_transform(table.vectors.astype(np.float64))
    np.testing.assert_allclose(np.abs(fit_map(table, method="pca").places), np.abs(want), atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_that_the_map_knows_is_placed_where_it_is(method):
    drawn = fit_map(clusters(), method=method)
    placed = drawn.place(clusters(7))
    np.testing.assert_array_equal(placed.places[:60], drawn.places)
    np.testing.assert_allclose(placed.places[60:], drawn.places[:7], atol=1e-4)
    assert placed.fitted.sum() == 60 and placed.table["distance_to_map"].max() == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_new_row_lands_in_its_cluster(method):
    drawn = fit_map(clusters(), method=method)
    placed = drawn.place(clusters(30, seed=1))
    assert purity(placed.places, np.concatenate([np.arange(60) % 3, np.arange(30) % 3])) == 1
    assert (placed.table["distance_to_map"][60:] > 0).all()
    again = placed.place(clusters(3, seed=2))
    assert again.fitted.sum() == 60 and len(again) == 93
    np.testing.assert_allclose(again.places[90:], drawn.place(clusters(3, seed=2)).places[60:])


def test_a_map_comes_back_from_its_file(tmp_path):
    drawn, path = fit_map(clusters(), seed=5), tmp_path / "map.parquet"
    drawn.to_parquet(path)
    back = read_map(path)
    np.testing.assert_array_equal(back.places, drawn.places)
    assert (back.method, back.seed, back.left_out) == ("tsne", 5, 0) and back.table.data.equals(drawn.table.data)
    assert {"x", "y", "vector", "dataset"} <= set(pq.read_schema(path).names)
    with pytest.raises(TableError, match="there already"):
        drawn.to_parquet(path)


def test_a_map_of_another_version_is_refused(tmp_path):
    path = tmp_path / "map.parquet"
    fit_map(clusters(), method="pca").to_parquet(path)
    data = pq.read_table(path)
    about = json.loads(data.schema.metadata[MAP]) | {"version": 99}
    pq.write_table(data.replace_schema_metadata({**data.schema.metadata, MAP: json.dumps(about)}), path)
    with pytest.raises(TableError, match="version 99, this is version 1: draw it again"):
        read_map(path)
    clusters().to_parquet(path, overwrite=True)
    with pytest.raises(TableError, match="no map of them"):
        read_map(path)


def test_rows_without_a_finite_vector_are_left_out_and_counted():
    table = broken(broken(clusters(), [4], np.nan), [5], np.inf)
    drawn = fit_map(table, method="pca")
    assert drawn.left_out == 2 and len(drawn) == 58 and "net4" not in drawn.table["id"]
    with pytest.raises(TableError, match="none of the 60 rows"):
        fit_map(broken(clusters(), np.arange(60), np.nan))
    with pytest.raises(TableError, match="none of the 1 rows"):
        drawn.place(broken(clusters(1), [0], np.nan))


@pytest.mark.parametrize("rows", [1, 2, 3, 9])
def test_a_few_rows_have_a_plain_map(rows):
    drawn = fit_map(clusters(rows))
    assert drawn.method == "pca" and np.isfinite(drawn.places).all()
    apart = np.linalg.norm(drawn.table.vectors[0] - drawn.table.vectors[-1])
    assert np.linalg.norm(drawn.places[0] - drawn.places[-1]) <= apart + 1e-4
    if rows == 2:
        np.testing.assert_allclose(np.linalg.norm(drawn.places[0] - drawn.places[1]), apart, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spread", [0, 1])
def test_vectors_on_a_point_or_a_line_have_a_map(method, spread):
    places, used = project(spread * np.outer(np.arange(40.0), np.ones(5)) + 2, method=method)
    assert used == "pca" and np.isfinite(places).all()


def test_copies_have_a_map():
    vectors = np.repeat(np.random.default_rng(0).normal(size=(4, 6)), 15, 0)
    places, used = project(vectors)
    assert used == "tsne" and np.isfinite(places).all()


def test_tables_of_two_encoders_share_no_map():
    with pytest.raises(TableError, match=r"'other'.*does not go with 'sweep'"):
        fit_map(clusters(), method="pca").place(clusters(encoder="other"))


def test_what_is_not_there_is_named():
    with pytest.raises(TableError, match="no way 'isomap'"):
        fit_map(clusters(), method="isomap")


def test_edges_go_from_children_to_parents_that_are_there():
    table = clusters(4, parent=["gone", "net0", "net0 net1", None])
    assert fit_map(table).edges().tolist() == [[1, 0], [2, 0], [2, 1]]
    plain = LatentTable(clusters(4).data.drop_columns(["parent"]))
    assert fit_map(plain).edges().shape == (0, 2)


def test_umap_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(TableError, match=r"weightspace\[umap\]"):
        fit_map(clusters(), method="umap")


def test_columns_that_do_not_go_together_are_named():
    with pytest.raises(TableError, match="columns of the tables do not go together"):
        fit_map(clusters(), method="pca").place(clusters(accuracy=["high"] * 60))
