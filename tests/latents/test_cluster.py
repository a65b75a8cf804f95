"""Clusters that are there are found, said to be firm, and named by what sets them apart; others are not."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tests.latents.rows import table_of
from weightspace.errors import TableError
from weightspace.latents import cluster as module
from weightspace.latents.cluster import NOISE, NOTHING, ClusterSettings, cluster
from weightspace.latents.naming import name_groups

METHODS = ("hdbscan", "kmeans", "agglomerative")


def blobs(g, sizes=(60, 40, 25), apart=20.0, width=6):
    """Rows around centres, and of which each is."""
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return apart * np.eye(len(sizes), width)[truth] + g.normal(size=(len(truth), width)), truth


@pytest.mark.parametrize("method", METHODS)
def test_blobs_are_found_the_largest_first(method):
    x, truth = blobs(np.random.default_rng(0))
    found = cluster(table_of(x), ClusterSettings(method))
    assert adjusted_rand_score(truth, found.labels) > 0.95
    kept = found.labels >= 0
    assert (found.labels[kept] == truth[kept]).all()
    assert found.stability > 0.9 and found.silhouette > 0.35 and found.noise < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_a_cloud_has_no_firm_clusters(method):
    found = cluster(table_of(np.random.default_rng(1).normal(size=(150, 6))), ClusterSettings(method))
    assert found.silhouette is None or found.silhouette < 0.3
    assert found.noise > 0.5 or found.stability < 0.8


@pytest.mark.parametrize("method", METHODS)
def test_units_and_constant_columns_do_not_matter_and_rows_may_change_places(method):
    g = np.random.default_rng(2)
    x, _ = blobs(g)
    order = g.permutation(len(x))
    first = cluster(table_of(x), ClusterSettings(method)).labels
    scaled = np.c_[x * 10.0 ** np.arange(-3, 3), np.full(len(x), 5.0)][order]
    again = cluster(table_of(scaled), ClusterSettings(method)).labels
    assert adjusted_rand_score(first[order], again) > 0.97


def test_a_clustering_comes_again_with_its_seed():
    x = np.random.default_rng(3).normal(size=(80, 4))
    once, twice = (cluster(table_of(x), ClusterSettings("kmeans", 5, seed=4)) for _ in range(2))
    assert once.labels.tolist() == twice.labels.tolist() and once.as_dict() == twice.as_dict()


def test_clusters_are_named_by_what_sets_them_apart():
    g = np.random.default_rng(4)
    x, truth = blobs(g)
    columns = {
        "kind": np.array(["relu", "tanh", "relu"])[truth].tolist(),
        "width": (10.0 * truth + g.random(len(truth))).tolist(),
        "other": g.random(len(truth)).tolist(),
    }
    named = cluster(table_of(x, **columns), ClusterSettings("kmeans", 3)).clusters
    assert [one.rows for one in named] == [60, 40, 25]
    assert (named[1].name.column, named[1].name.value) == ("kind", "tanh")
    assert [one.name.column for one in named] == ["width", "kind", "width"]
    assert all(one.name.agreement > 0.9 > 0.6 > one.name.chance for one in named)
    shuffled = {name: g.permutation(np.array(values, object)).tolist() for name, values in columns.items()}
    assert [c.name.column for c in cluster(table_of(x, **shuffled), ClusterSettings("kmeans", 3)).clusters] == [""] * 3


def test_a_name_by_hand():
    groups = np.zeros((1, 40), bool)
    groups[0, :10] = True
    kind = ["a"] * 8 + ["b"] * 2 + ["a"] * 2 + ["b"] * 28
    name = name_groups(table_of(np.zeros((40, 1)), kind=kind), groups)[0]
    assert (name.column, name.value, name.precision, name.recall) == ("kind", "a", 0.8, 0.8)
    assert name.agreement == pytest.approx((8 * 28 - 2 * 2) / (10 * 30))


def test_ids_and_places_name_nothing():
    x, truth = blobs(np.random.default_rng(5), sizes=(30, 30))
    table = table_of(x, run=truth.tolist(), seed=truth.tolist())
    assert {one.name.column for one in cluster(table, ClusterSettings("kmeans", 2)).clusters} == {""}


def test_noise_is_counted_and_explained():
    g = np.random.default_rng(6)
    x, _ = blobs(g, sizes=(80, 80))
    scattered = g.uniform(-60, 60, size=(40, 6))
    state = ["trained"] * 160 + ["untrained"] * 40
    found = cluster(table_of(np.r_[x, scattered], state=state))
    assert found.noise == pytest.approx(0.2, abs=0.06)
    noise = found.clusters[-1]
    assert noise.label == NOISE and (noise.name.column, noise.name.value) == ("state", "untrained")
    assert noise.name.precision > 0.8 and noise.name.recall > 0.8


def test_rows_without_a_vector_have_no_cluster():
    x, _ = blobs(np.random.default_rng(7))
    x[3] = np.nan
    found = cluster(table_of(x, failed=[5]), ClusterSettings("kmeans", 3))
    assert np.flatnonzero(found.labels == NOTHING).tolist() == [3, 5]
    assert [i for i, label in enumerate(found.column()) if label is None] == [3, 5]
    assert found.as_dict()["left_out"] == 2


def test_what_cannot_be_clustered_is_named(monkeypatch):
    x = np.random.default_rng(8).normal(size=(30, 3))
    with pytest.raises(TableError, match="9 of 9 rows hold a finite vector; clusters take 10"):
        cluster(table_of(x[:9]))
    with pytest.raises(TableError, match="all 30 vectors are the same"):
        cluster(table_of(np.ones((30, 3))))
    with pytest.raises(TableError, match="16 clusters of 30 rows: ask for 2 to 15"):
        cluster(table_of(x), ClusterSettings("kmeans", 16))
    with pytest.raises(TableError, match="HDBSCAN finds how many"):
        cluster(table_of(x), ClusterSettings(clusters=3))
    monkeypatch.setattr(module, "PAIRWISE", 20)
    with pytest.raises(TableError, match="compares all pairs of 30 rows; take kmeans"):
        cluster(table_of(x), ClusterSettings("agglomerative"))
