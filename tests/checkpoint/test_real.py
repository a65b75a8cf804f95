"""The real checkpoints: all load as they are, and natives equal their safetensors twins."""

import json
import time

import pytest
import torch
from safetensors.torch import load_file

from weightspace.checkpoint.digest import content_hash
from weightspace.checkpoint.find import find_checkpoints
from weightspace.checkpoint.load import load_checkpoint, read_header
from weightspace.checkpoint.names import plain_names

NATIVE = {
    "pnet.pt": "mtcnn_pnet",
    "silero_vad_16k.safetensors": "silero_vad_16k",
    "basic_pitch_nmp.onnx": "basic_pitch_nmp",
    "esrgan_slim_x2_model.json": "esrgan_slim_x2",
    "mlperf_tiny_resnet8.h5": "mlperf_tiny_resnet8",
}
"""Originals of a format that is read here (the other four are two TensorFlow graphs, a text file and a shard)."""


def entries(folder):
    return json.loads((folder / "manifest.json").read_text())["checkpoints"]


def test_all_load_bit_for_bit_and_fast(shared_checkpoints):
    start = time.process_time()
    loaded = {
        entry["file"]: load_checkpoint(shared_checkpoints / entry["file"]) for entry in entries(shared_checkpoints)
    }
    assert time.process_time() - start < 20 and len(loaded) == 174

    for file, checkpoint in loaded.items():
        raw = load_file(shared_checkpoints / file)
        plain = plain_names(raw)
        assert {plain[name] for name in raw} == set(checkpoint.tensors), file
        assert all(torch.equal(checkpoint.tensors[plain[name]], tensor) for name, tensor in raw.items()), file
        assert not (checkpoint.shared or checkpoint.left_out or checkpoint.non_finite), file
        assert read_header(shared_checkpoints / file) == checkpoint.header


def test_hashes_are_those_of_the_manifest(shared_checkpoints):
    for entry in entries(shared_checkpoints)[:20]:
        assert content_hash(shared_checkpoints / entry["file"]) == entry["sha256"]


def test_all_are_found_once(shared_checkpoints):
    found = find_checkpoints([shared_checkpoints])
    expected = {str(shared_checkpoints / entry["file"]) for entry in entries(shared_checkpoints)}
    assert set(found) - expected == {str(shared_checkpoints / "native" / name) for name in NATIVE}
    assert len(found) == len(set(found)) and expected <= set(found)


@pytest.mark.parametrize("name, twin", NATIVE.items(), ids=NATIVE.keys())
def test_an_original_equals_its_twin_bit_for_bit(name, twin, shared_checkpoints):
    found = load_checkpoint(shared_checkpoints / "native" / name).tensors
    expected = load_checkpoint(shared_checkpoints / f"{twin}.safetensors").tensors
    assert set(expected) <= set(found)
    assert all(torch.equal(found[key], tensor) and found[key].dtype == tensor.dtype for key, tensor in expected.items())
    assert all(found[key].numel() == 1 for key in set(found) - set(expected)), "only single numbers are not in the twin"


def test_saving_keeps_them_all(shared_checkpoints, tmp_path):
    for number, entry in enumerate(entries(shared_checkpoints)[::6]):
        checkpoint = load_checkpoint(shared_checkpoints / entry["file"])
        checkpoint.save(tmp_path / f"{number}.safetensors")
        again = load_checkpoint(tmp_path / f"{number}.safetensors")
        assert again.header == checkpoint.header and list(again.tensors) == list(checkpoint.tensors)
        assert content_hash(again) == content_hash(checkpoint)
