"""HDF5 and Keras: the network without its training state, and nothing of another file."""

import json
import zipfile

import numpy as np
import pytest
import torch

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError, FormatError, WeightspaceError

h5py = pytest.importorskip("h5py", reason="the extra 'formats' is not installed")

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_keras_model_comes_without_its_optimizer(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential"})
        file["model_weights/dense/dense/kernel:0"] = KERNEL
        file["optimizer_weights/adam/m:0"] = KERNEL
    found = load_checkpoint(tmp_path / "x.h5")
    assert list(found.tensors) == ["dense/dense/kernel:0"] and list(found.left_out) == ["optimizer_weights"]
    assert np.array_equal(found.tensors["dense/dense/kernel:0"].numpy(), KERNEL)
    assert json.loads(found.metadata["keras_config"]) == {"class_name": "Sequential"}


def test_weights_of_keras_3_come_without_their_optimizer(tmp_path):
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = KERNEL
        file["layers/dense/vars/1"] = KERNEL[0]
        file["optimizer/vars/0"] = np.array(3)
    found = load_checkpoint(tmp_path / "x.weights.h5")
    assert list(found.tensors) == ["layers/dense/vars/0", "layers/dense/vars/1"]

    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.write(tmp_path / "x.weights.h5", "model.weights.h5")
        archive.writestr("config.json", '{"module": "keras"}')
    again = load_checkpoint(tmp_path / "x.keras")
    assert again.header.tensors == found.header.tensors
    assert torch.equal(again.tensors["layers/dense/vars/0"], found.tensors["layers/dense/vars/0"])
    assert json.loads(again.metadata["keras_config"]) == {"module": "keras"}


def test_plain_arrays_keep_their_paths_and_numbers(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["a"], file["g/b"], file["s"] = KERNEL.astype(">f8"), np.arange(3), np.array(2.0, np.float16)
        file["text"] = "words"
    found = load_checkpoint(tmp_path / "x.hdf5")
    assert {name: t.tolist() for name, t in found.tensors.items()} == {"a": KERNEL.tolist(), "g/b": [0, 1, 2], "s": 2.0}
    assert list(found.left_out) == ["text"]


def test_links_to_other_files_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = KERNEL
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "secret", (2, 3))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["own"] = KERNEL
        file["link"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/secret")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", (6,), "f4", external=[(str(tmp_path / "secret.h5"), 0, 24)])
    assert list(load_checkpoint(tmp_path / "x.h5").tensors) == ["own"]


def test_an_array_that_claims_more_than_the_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("bomb", (2**40,), "f4", chunks=(1024,))
    with pytest.raises(CheckpointError, match=r"claim 4398046511104 bytes"):
        load_checkpoint(tmp_path / "x.h5")


def test_a_keras_archive_without_weights_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(FormatError, match=r"no model.weights.h5"):
        load_checkpoint(tmp_path / "x.keras")


def test_a_truncated_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.ones(1000)
    content = (tmp_path / "x.h5").read_bytes()
    for keep in (9, 100, 1000, len(content) - 100):
        (tmp_path / "cut.h5").write_bytes(content[:keep])
        with pytest.raises(WeightspaceError, match=r"cut.h5"):
            load_checkpoint(tmp_path / "cut.h5")
