"""GGUF: what its own writer wrote, dequantised as its layout says."""

import numpy as np
import pytest
import torch

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError, WeightspaceError

gguf = pytest.importorskip("gguf", reason="the extra 'formats' is not installed")


def written(path, tensors):
    writer = gguf.GGUFWriter(str(path), "tiny")
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_plain_tensors_come_back(tmp_path):
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    half = np.array([1.5, -0.25], np.float32).view(np.uint32).__rshift__(16).astype(np.uint16).view(np.uint8)
    parts = {"w": (kernel, None), "h": (kernel.astype(np.float16), None), "b": (half, gguf.GGMLQuantizationType.BF16)}
    found = load_checkpoint(written(tmp_path / "x.gguf", parts))
    assert np.array_equal(found.tensors["w"].numpy(), kernel)
    assert np.array_equal(found.tensors["h"].numpy(), kernel.astype(np.float16))
    assert found.tensors["b"].dtype == torch.bfloat16 and found.tensors["b"].tolist() == [1.5, -0.25]
    assert found.metadata["general.architecture"] == "tiny"


def test_blocks_of_eight_bits_are_scaled_back_by_hand(tmp_path):
    numbers = np.arange(-32, 32, dtype=np.int8).reshape(2, 32)
    scales = np.array([[0.5], [2.0]], np.float16)
    blocks = np.concatenate([scales.view(np.uint8), numbers.view(np.uint8)], 1)
    found = load_checkpoint(written(tmp_path / "x.gguf", {"q": (blocks, gguf.GGMLQuantizationType.Q8_0)}))
    assert np.array_equal(found.tensors["q"].numpy(), numbers * scales.astype(np.float32))


def test_blocks_of_four_bits_are_scaled_back_by_hand(tmp_path):
    codes = np.arange(32, dtype=np.uint8) % 16
    packed = codes[:16] | (codes[16:] << 4)
    block = np.concatenate([np.array([0.25], np.float16).view(np.uint8), packed])[None]
    found = load_checkpoint(written(tmp_path / "x.gguf", {"q": (block, gguf.GGMLQuantizationType.Q4_0)}))
    assert np.array_equal(found.tensors["q"].numpy()[0], (codes.astype(np.float32) - 8) * 0.25)


def test_damaged_files_are_refused(tmp_path):
    content = written(tmp_path / "x.gguf", {"w": (np.ones((4, 32), np.float32), None)}).read_bytes()
    for keep in (4, 20, 60, len(content) - 100):
        (tmp_path / "cut.gguf").write_bytes(content[:keep])
        with pytest.raises(CheckpointError, match=r"cut.gguf: "):
            load_checkpoint(tmp_path / "cut.gguf")
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(content)
        damaged[rng.integers(len(content) - 512)] = rng.integers(256)
        (tmp_path / "bad.gguf").write_bytes(damaged)
        try:
            load_checkpoint(tmp_path / "bad.gguf")
        except WeightspaceError as error:
            assert "bad.gguf" in str(error)
