import json

import pandas as pd
import pytest
import torch

from tests.zoo.parts import make_part
from weightspace import zoo
from weightspace.errors import ZooError
from weightspace.zoo import manifest
from weightspace.zoo.append import append_parts
from weightspace.zoo.store import hash_tensors


@pytest.fixture
def population(tmp_path):
    append_parts(tmp_path / "a", "0.safetensors", [make_part(0), make_part(10, width=5)])
    return append_parts(tmp_path / "a", "1.safetensors", [make_part(20)])


def test_what_was_written_is_read_back_bit_for_bit(population):
    assert len(population) == 9 and population.verify() == 9
    for part in (make_part(0), make_part(10, width=5), make_part(20)):
        rows = population.frame(where=[("run", ">=", part.rows["run"].min()), ("run", "<=", part.rows["run"].max())])
        for name, tensor in population.stack(rows).items():
            assert torch.equal(tensor, part.tensors[name]) and tensor.dtype == part.tensors[name].dtype
        checkpoint = population.checkpoint(part.rows["id"][1])
        assert all(torch.equal(checkpoint.tensors[n], t[1]) for n, t in part.tensors.items())


def test_filters_read_no_weights(population):
    for shard in (population.folder / "shards").iterdir():
        shard.unlink()
    assert sorted(zoo.load(population.folder).frame(["id"], where=[("accuracy", ">", 0.15)])["id"]) == [
        "p/12",
        "p/2",
        "p/22",
    ]


def test_a_missing_shard_is_named_and_the_others_stay_usable(population):
    (population.folder / "shards" / "1.safetensors").unlink()
    with pytest.raises(ZooError, match=r"1\.safetensors: missing or not readable"):
        population.checkpoint("p/20")
    assert population.checkpoint("p/0").tensors["b"].shape == (4,)


def test_an_altered_shard_is_named(population):
    path = population.folder / "shards" / "0.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ZooError, match=r"0\.safetensors: the weights of p/1[0-2] are not those of the manifest"):
        population.verify()


def test_a_damaged_manifest_is_named(population):
    path = population.folder / "manifest.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ZooError, match=r"manifest\.parquet: cannot be read"):
        zoo.load(population.folder)


def test_rows_come_back_in_the_order_asked_for(population):
    rows = population.frame(where=[("run", "in", [1, 20, 2, 22])]).sort_values("id", ascending=False)
    found = population.stack(rows)["w"]
    expected = {
        f"p/{i}": make_part(start).tensors["w"][i - start] for start in (0, 20) for i in range(start, start + 3)
    }
    assert rows["id"].tolist() == ["p/22", "p/20", "p/2", "p/1"]
    for identity, weights in zip(rows["id"], found, strict=True):
        assert torch.equal(weights, expected[identity])


def test_filters_find_the_same_rows_in_many_row_groups(population, monkeypatch):
    monkeypatch.setattr(manifest, "_ROW_GROUP", 2)
    many = append_parts(population.folder, "2.safetensors", [make_part(50)])
    everything = many.frame()
    for where in ([("accuracy", ">=", 0.2)], [("run", ">", 10), ("note", "==", "x")], [("run", ">", 999)]):
        expected = everything.query(" and ".join(f"{name} {sign} {value!r}" for name, sign, value in where))
        found = many.frame(["id", "accuracy"], where=where)
        assert found["id"].tolist() == expected["id"].tolist() and found["accuracy"].tolist() == list(expected.accuracy)


def test_several_architectures_are_not_stacked(population):
    with pytest.raises(ZooError, match="9 rows of 2 architectures"):
        population.stack(population.frame())
    assert sorted(len(rows) for rows, _ in population.batches(population.frame())) == [3, 6]


def test_names_and_places_are_told_apart(population, tmp_path):
    with pytest.raises(ZooError, match="no checkpoint 'p/99'"):
        population.checkpoint("p/99")
    with pytest.raises(ZooError, match=r"no columns \['loss'\]"):
        population.frame(["loss"])
    with pytest.raises(ZooError, match="so it is no population"):
        zoo.load(tmp_path / "nowhere")
    with pytest.raises(ZooError, match="known by its shapes alone"):
        population.module(population.frame()["architecture"].iloc[0])


def test_the_hash_sees_names_dtypes_and_shapes():
    a = torch.zeros(4)
    seen = [{"a": a}, {"b": a}, {"a": a.view(2, 2)}, {"a": a.int()}]
    assert len({hash_tensors(tensors) for tensors in seen}) == 4


def test_what_the_manifest_leans_on_is_checked(population):
    folder = population.folder
    known = json.loads((folder / "architectures.json").read_text())
    for text, found in (
        ("{", "damaged"),
        ("[]", "must map each"),
        (json.dumps({"x": {"shapes": {}}}), "does not know"),
    ):
        (folder / "architectures.json").write_text(text)
        with pytest.raises(ZooError, match=rf"architectures\.json: .*{found}"):
            zoo.load(folder).verify()
        assert len(zoo.load(folder).frame(where=[("accuracy", ">", 0.15)])) == 3
    (folder / "architectures.json").unlink()
    with pytest.raises(ZooError, match=r"architectures\.json: missing"):
        zoo.load(folder).checkpoint("p/0")
    (folder / "architectures.json").write_text(json.dumps(known))
    assert zoo.load(folder).verify() == 9


@pytest.mark.parametrize(
    "column, value, text",
    [
        ("shard", "../../shards/0.safetensors", "does not lie in the population"),
        ("row", 99, r"0\.safetensors: missing or not readable"),
        ("row", 1, "are not those of the manifest"),
        ("group", "0009", r"0\.safetensors: missing or not readable"),
        ("sha256", "0" * 64, "are not those of the manifest"),
        ("architecture", "none", "does not know the architecture 'none'"),
    ],
)
def test_a_manifest_that_points_elsewhere_is_named(population, column, value, text):
    path = population.folder / "manifest.parquet"
    frame = population.frame().astype({column: object})
    frame.loc[0, column] = value
    frame.to_parquet(path)
    with pytest.raises(ZooError, match=text):
        zoo.load(population.folder).checkpoint("p/0")
    assert zoo.load(population.folder).checkpoint("p/1").tensors["b"].shape == (4,)


def test_a_table_that_is_no_manifest_is_named(tmp_path):
    pd.DataFrame({"id": ["a"], "accuracy": [0.5]}).to_parquet(tmp_path / "manifest.parquet")
    with pytest.raises(ZooError, match=r"no columns \['architecture', 'group', 'row', 'sha256', 'shard'\]"):
        zoo.load(tmp_path)
