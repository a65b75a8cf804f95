"""TensorFlow.js: numbers worked by hand, and no shard from elsewhere."""

import json
import struct

import pytest
import torch

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError, FormatError, UnsafeCheckpointError

WEIGHTS = [
    {"name": "a/kernel", "shape": [2, 1], "dtype": "float32"},
    {"name": "a/bias", "shape": [3], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}},
    {"name": "half", "shape": [1], "dtype": "float32", "quantization": {"dtype": "float16"}},
    {"name": "n", "shape": [1], "dtype": "int32"},
]
DATA = struct.pack("<ff", 1.5, -2.0) + bytes([0, 2, 255]) + struct.pack("<e", 0.25) + struct.pack("<i", -7)


def model(folder, weights=WEIGHTS, paths=("s1.bin", "s2.bin"), data=DATA):
    (folder / "s1.bin").write_bytes(data[:5])
    (folder / "s2.bin").write_bytes(data[5:])
    text = {"modelTopology": {"x": 1}, "weightsManifest": [{"paths": list(paths), "weights": weights}]}
    (folder / "model.json").write_text(json.dumps(text))
    return folder / "model.json"


def test_weights_across_shards_are_scaled_back(tmp_path):
    found = load_checkpoint(model(tmp_path)).tensors
    assert found["a/kernel"].tolist() == [[1.5], [-2.0]]
    assert found["a/bias"].tolist() == [-1.0, 0.0, 126.5]
    assert found["half"].tolist() == [0.25] and found["n"].tolist() == [-7]
    assert found["a/bias"].dtype == torch.float32


@pytest.mark.parametrize("file", ["../s1.bin", "/s1.bin", 3])
def test_a_shard_outside_the_folder_is_refused(file, tmp_path):
    with pytest.raises(UnsafeCheckpointError, match=r"outside its folder"):
        load_checkpoint(model(tmp_path, paths=[file]))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"shape": [2, 2**40]}, "'a/kernel' needs bytes"),
        ({"shape": [-1]}, "needs bytes"),
        ({"dtype": "string"}, "damaged"),
        ({"shape": "x"}, "damaged"),
        ({"quantization": {"dtype": "uint8", "scale": "x"}}, "damaged"),
    ],
)
def test_a_lying_manifest_is_named(change, said, tmp_path):
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(model(tmp_path, [{**WEIGHTS[0], **change}]))


def test_short_and_missing_shards_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"'n' needs bytes 13 to 17 of 16"):
        load_checkpoint(model(tmp_path, data=DATA[:-1]))
    with pytest.raises(CheckpointError, match=r"'s3.bin' is missing"):
        load_checkpoint(model(tmp_path, paths=["s3.bin"]))


def test_another_model_json_is_named(tmp_path):
    (tmp_path / "model.json").write_text('{"weightsManifest": 3}')
    with pytest.raises(FormatError, match=r"no weights manifest"):
        load_checkpoint(tmp_path / "model.json")
