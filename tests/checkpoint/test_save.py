"""Saving: what is read back is what was saved, and nothing partial is ever left."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.dtypes import DTYPES
from weightspace.checkpoint.load import load_checkpoint, read_header
from weightspace.errors import CheckpointError


def same_bits(a, b):
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and torch.equal(a.flatten().view(torch.uint8), b.flatten().view(torch.uint8))
    )


NUMBERS = [dtype for dtype, spelled in DTYPES.items() if spelled != "F4"]  # two of those make one number of PyTorch


def of_dtype(dtype, shape, seed):
    bits = torch.randint(0, 2, (*shape, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    size = torch.empty(0, dtype=dtype).element_size()
    return bits.repeat(*[1] * len(shape), 1)[..., :size].contiguous().view(dtype).reshape(shape)


@settings(deadline=None, derandomize=True)
@given(
    dtypes=st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=5),
    shape=st.lists(st.integers(0, 4), max_size=3),
    metadata=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=5),
        st.text(st.characters(codec="utf-8"), max_size=5),
        max_size=2,
    ),
)
def test_a_saved_checkpoint_comes_back_exactly(dtypes, shape, metadata, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "x.safetensors"
    tensors = {f"module.{9 - i}.weight_g": of_dtype(dtype, shape, i) for i, dtype in enumerate(dtypes)}
    first = next(iter(tensors))
    saved = Checkpoint(tensors, metadata, shared={"twin": first}, left_out={"optimizer": "not wanted"})

    saved.save(path)
    found = load_checkpoint(path)

    assert list(found.tensors) == list(tensors)
    assert all(same_bits(found.tensors[name], tensors[name]) for name in tensors)
    assert found.metadata == saved.metadata and found.shared == saved.shared and found.left_out == saved.left_out
    assert read_header(path) == found.header


def test_the_library_reads_what_we_write(tmp_path):
    tensors = {
        "b": torch.arange(3, dtype=torch.int8),
        "a": torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),
    }
    Checkpoint(tensors).save(tmp_path / "x.safetensors")
    found = load_file(tmp_path / "x.safetensors")
    assert all(same_bits(found[name], tensors[name]) for name in tensors)


def test_views_are_saved_as_they_are_seen(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    Checkpoint({"t": whole.T, "row": whole[1], "same": whole[:1].expand(3, 4)}).save(tmp_path / "x.safetensors")
    found = load_checkpoint(tmp_path / "x.safetensors").tensors
    assert torch.equal(found["t"], whole.T) and torch.equal(found["row"], whole[1])
    assert torch.equal(found["same"], whole[:1].expand(3, 4))


def test_an_existing_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "x.safetensors"
    Checkpoint({"a": torch.ones(1)}).save(path)
    with pytest.raises(CheckpointError, match=r"exists already.*overwrite=True"):
        Checkpoint({"a": torch.zeros(1)}).save(path)
    assert load_checkpoint(path).tensors["a"].item() == 1

    Checkpoint({"a": torch.zeros(1)}).save(path, overwrite=True)

    assert load_checkpoint(path).tensors["a"].item() == 0
    assert os.listdir(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize(
    "name, tensor, said",
    [
        ("b", torch.ones(1, dtype=torch.complex128), "complex128"),
        ("b", torch.ones(1, device="meta"), "no plain numbers"),
        ("__metadata__", torch.ones(1), "keeps this name"),
    ],
)
def test_nothing_partial_is_left_where_a_tensor_cannot_be_written(name, tensor, said, tmp_path):
    with pytest.raises(CheckpointError, match=f"'{name}'.*{said}"):
        Checkpoint({"a": torch.ones(1), name: tensor}).save(tmp_path / "x.safetensors")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "names", [{"tensors": {"\ud800": torch.ones(1)}}, {"tensors": {}, "metadata": {"a": "\udcff"}}]
)
def test_text_that_is_not_utf8_is_refused(names):
    with pytest.raises(CheckpointError, match="not UTF-8"):
        Checkpoint(**names)


def test_nothing_partial_is_left_where_writing_breaks_off(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "x.safetensors"
    Checkpoint({"a": torch.ones(1)}).save(path)
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(CheckpointError, match=r"No space left"):
        Checkpoint({"a": torch.zeros(1)}).save(path, overwrite=True)

    assert os.listdir(tmp_path) == ["x.safetensors"]
    assert load_checkpoint(path).tensors["a"].item() == 1


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none.*cannot be written"):
        Checkpoint({"a": torch.ones(1)}).save(tmp_path / "none" / "x.safetensors")


def test_numbers_that_are_not_finite_are_reported_not_refused(tmp_path):
    tensors = {
        "nan": torch.tensor([1.0, float("nan")]),
        "inf": torch.tensor([float("-inf")], dtype=torch.bfloat16),
        "eighth": torch.tensor([float("nan")]).to(torch.float8_e4m3fn),
        "good": torch.ones(2),
        "none": torch.ones(0),
        "whole": torch.ones(2, dtype=torch.int64),
    }
    Checkpoint(tensors).save(tmp_path / "x.safetensors")
    assert load_checkpoint(tmp_path / "x.safetensors").non_finite == ("nan", "inf", "eighth")
