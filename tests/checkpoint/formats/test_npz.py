"""numpy archives: numbers as they were saved, pickles never."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError

ARRAYS = {
    "w": np.arange(6, dtype=np.float64).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "half": np.ones(2, dtype=np.float16),
    "yes": np.array([True, False]),
    "scalar": np.array(2.5),
    "none": np.zeros((0, 3)),
}


class Runs:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_numpy_reads_them(save, tmp_path):
    save(tmp_path / "x.npz", **ARRAYS)
    found = load_checkpoint(tmp_path / "x.npz").tensors
    assert list(found) == list(ARRAYS)
    with np.load(tmp_path / "x.npz") as arrays:
        assert all(np.array_equal(found[name].numpy(), arrays[name]) for name in ARRAYS)
    assert found["w"].dtype == torch.float64 and found["half"].dtype == torch.float16


def test_a_pickled_array_is_left_out_and_not_run(tmp_path):
    objects = np.array([Runs(tmp_path / "marker")], dtype=object)
    np.savez(tmp_path / "x.npz", w=ARRAYS["w"], run=objects, names=np.array(["a"]))
    found = load_checkpoint(tmp_path / "x.npz", trust=True)
    assert list(found.tensors) == ["w"] and set(found.left_out) == {"run", "names"}
    assert not (tmp_path / "marker").exists()


def npy(shape, data=bytes(8)):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "content, said",
    [
        (npy("(2,)"), "does not fit 8 bytes"),
        (npy(f"({2**60},)"), "does not fit 8 bytes"),
        (npy(f"({2**60}, 0)", b""), "does not fit 0 bytes"),
        (npy("(-1,)"), "does not fit|header"),
        (npy("exec('x')"), "header cannot be read"),
        (b"no array", "header cannot be read"),
        (npy("(1,)")[:20], "header cannot be read"),
    ],
)
def test_a_lying_array_is_named(content, said, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("w.npy", content)
    with pytest.raises(CheckpointError, match=f"x.npz: .*'w'.*({said})"):
        load_checkpoint(tmp_path / "x.npz")


def test_an_archive_without_arrays_is_refused(tmp_path):
    file = io.BytesIO()
    np.savez(file, names=np.array(["a"]))
    (tmp_path / "x.npz").write_bytes(file.getvalue())
    with pytest.raises(CheckpointError, match=r"no array of numbers"):
        load_checkpoint(tmp_path / "x.npz")
