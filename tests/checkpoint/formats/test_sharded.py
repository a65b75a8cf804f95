"""Sharded sets: one checkpoint of all files, and no file from elsewhere."""

import json

import pytest
import torch
from safetensors.torch import save_file

from weightspace.checkpoint.find import find_checkpoints
from weightspace.checkpoint.load import load_checkpoint, read_header
from weightspace.errors import CheckpointError, UnsafeCheckpointError

PARTS = {"m-1.safetensors": {"a": torch.ones(2), "b": torch.zeros(3)}, "m-2.safetensors": {"c": torch.arange(4)}}


def sharded(folder, places=None, suffix="safetensors"):
    for file, tensors in PARTS.items():
        if suffix == "safetensors":
            save_file(tensors, folder / file)
        else:
            torch.save(tensors, folder / file.replace("safetensors", suffix))
    places = places or {name: file.replace("safetensors", suffix) for file, part in PARTS.items() for name in part}
    stem = "model.safetensors" if suffix == "safetensors" else "pytorch_model.bin"
    path = folder / f"{stem}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return path


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_all_shards_are_one_checkpoint(suffix, tmp_path):
    path = sharded(tmp_path, suffix=suffix)
    (tmp_path / "config.json").write_text('{"model_type": "tiny"}')

    found = load_checkpoint(path)

    expected = {name: tensor for part in PARTS.values() for name, tensor in part.items()}
    assert set(found.tensors) == set(expected)
    assert all(torch.equal(found.tensors[name], expected[name]) for name in expected)
    assert json.loads(found.metadata["config"]) == {"model_type": "tiny"}
    assert read_header(path) == found.header == load_checkpoint(tmp_path).header
    assert find_checkpoints([tmp_path]) == [str(path)]


@pytest.mark.parametrize(
    "file", ["../m-1.safetensors", "/m-1.safetensors", "a/../../m.safetensors", "..\\m", "C:\\m", ""]
)
@pytest.mark.parametrize("read", [load_checkpoint, read_header])
def test_an_index_that_leaves_its_folder_is_refused(file, read, tmp_path):
    path = sharded(tmp_path, {"a": file})
    with pytest.raises(UnsafeCheckpointError, match=r"tensor 'a' lies in .*outside its folder"):
        read(path)


@pytest.mark.parametrize("read", [load_checkpoint, read_header])
def test_missing_shards_are_named(read, tmp_path):
    path = sharded(tmp_path)
    (tmp_path / "m-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"1 of 2 shards are missing: m-2.safetensors"):
        read(path)


@pytest.mark.parametrize("read", [load_checkpoint, read_header])
def test_a_shard_without_its_tensor_is_named(read, tmp_path):
    path = sharded(tmp_path, {"a": "m-1.safetensors", "c": "m-1.safetensors"})
    with pytest.raises(CheckpointError, match=r"m-1.safetensors does not hold 'c'"):
        read(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "\xff", "[" * 99_999]
)
def test_an_index_that_is_none_is_refused(text, tmp_path):
    (tmp_path / "x.index.json").write_text(text, "latin-1")
    with pytest.raises(CheckpointError, match=r"x.index.json: .*(JSON|weight_map)"):
        load_checkpoint(tmp_path / "x.index.json")
