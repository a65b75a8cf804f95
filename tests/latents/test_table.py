"""A table comes back from its file as it went in, and never mixes what cannot be compared."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weightspace.errors import TableError
from weightspace.latents.search import neighbours
from weightspace.latents.table import LatentTable, concat_tables

ROWS = [
    {"id": "a", "path": "a.pt", "sha256": "1", "weights": 3, "understood": 1.0, "nonfinite": 0, "vector": [0.0, 0.0]},
    {"id": "b", "path": "b.pt", "sha256": "2", "weights": 3, "understood": 0.5, "nonfinite": 1, "vector": [3.0, 4.0]},
    {"id": "bad", "path": "bad.pt", "error": "truncated"},
    {"id": "c", "path": "c.pt", "sha256": "3", "weights": 9, "understood": 1.0, "nonfinite": 0, "vector": [0.0, 1.0]},
]


def table(rows=ROWS, encoder="sweep", version=1) -> LatentTable:
    return LatentTable.from_rows(rows, encoder=encoder, graph_version=version, latent=2)


def test_parquet_keeps_everything(tmp_path):
    table().to_parquet(tmp_path / "t.parquet")
    back = LatentTable.read_parquet(tmp_path / "t.parquet")
    assert back.data.equals(table().data)
    assert (back.encoder, back.graph_version) == ("sweep", 1)
    assert os.listdir(tmp_path) == ["t.parquet"]
    assert pq.read_schema(tmp_path / "t.parquet").field("vector").type == pa.list_(pa.float32(), 2)


def test_a_file_is_replaced_only_on_demand(tmp_path):
    path = tmp_path / "t.parquet"
    table().to_parquet(path)
    with pytest.raises(TableError, match="overwrite=True"):
        table(ROWS[:1]).to_parquet(path)
    assert len(LatentTable.read_parquet(path)) == 4
    table(ROWS[:1]).to_parquet(path, overwrite=True)
    assert len(LatentTable.read_parquet(path)) == 1


def test_failed_rows_have_no_vector_and_say_why():
    found = table()
    assert found.fine.tolist() == [True, True, False, True]
    assert found["error"].tolist() == ["", "", "truncated", ""]
    assert np.isnan(found.vectors[2]).all()
    np.testing.assert_array_equal(found.vectors[[0, 1, 3]], np.array([[0, 0], [3, 4], [0, 1]], np.float32))


def test_columns_come_by_name_and_as_a_frame():
    assert table()["id"].tolist() == ["a", "b", "bad", "c"]
    frame = table().to_pandas()
    assert frame["weights"].tolist()[:2] == [3, 3] and frame["vector"][2] is None
    with pytest.raises(TableError, match="no column 'colour'; it has id"):
        table()["colour"]


def test_rows_of_one_encoder_can_be_joined_and_of_two_cannot():
    assert table(ROWS[:2]).append(table(ROWS[2:])).data.equals(table().data)
    with pytest.raises(TableError, match=r"'other'.*does not go with 'sweep'"):
        table().append(table(encoder="other"))
    with pytest.raises(TableError, match="graph version 2"):
        concat_tables([table(), table(version=2)])
    with pytest.raises(TableError, match="no table"):
        concat_tables([])


def test_what_is_no_latent_table_is_named(tmp_path):
    with pytest.raises(TableError, match="no column weights"):
        LatentTable(table().data.drop_columns(["weights"]))
    with pytest.raises(TableError, match="which encoder"):
        LatentTable(table().data.replace_schema_metadata({}))
    (tmp_path / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(TableError, match=r"t\.parquet: cannot be read"):
        LatentTable.read_parquet(tmp_path / "t.parquet")
    with pytest.raises(TableError, match="cannot be read"):
        LatentTable.read_parquet(tmp_path / "absent.parquet")


def test_neighbours_by_hand():
    found = neighbours(table(), 1)
    assert found["id"].tolist() == ["a", "b", "c"]
    assert found["neighbour"].tolist() == ["c", "c", "a"]
    np.testing.assert_allclose(found["distance"], [1.0, 18**0.5, 1.0])
    assert len(neighbours(table(), 5)) == 6


def test_copies_are_each_others_neighbours():
    twins = [ROWS[0], ROWS[0] | {"id": "a again"}, ROWS[1]]
    found = neighbours(table(twins), 1)
    assert found["neighbour"].tolist()[:2] == ["a again", "a"] and found["distance"][0] == 0


def test_too_few_latents_have_no_neighbours():
    with pytest.raises(TableError, match="among 1 latents"):
        neighbours(table(ROWS[1:3]), 1)
