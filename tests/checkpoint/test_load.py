"""Loading: every source gives the same weights, and what is no source says so."""

import os
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint, read_header
from weightspace.checkpoint.sniff import FORMATS
from weightspace.errors import CheckpointError, FormatError


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 5)
        self.head.weight = self.embed.weight


def sources(folder):
    torch.manual_seed(0)
    module = Tied()
    state = module.state_dict()
    torch.save(state, folder / "x.pt")
    save_model(module, folder / "x.safetensors")
    (folder / "only").mkdir()
    save_model(module, folder / "only" / "any name.safetensors")
    return module, {
        "module": module,
        "state dict": state,
        "file": folder / "x.pt",
        "text": str(folder / "x.pt"),
        "safetensors": folder / "x.safetensors",
        "folder": folder / "only",
        "checkpoint": load_checkpoint(module),
        "numpy": {name: tensor.numpy() for name, tensor in state.items()},
    }


@pytest.mark.parametrize("kind", ["module", "state dict", "file", "text", "safetensors", "folder", "checkpoint"])
def test_every_source_gives_the_same_weights_and_ties(kind, tmp_path):
    module, all_sources = sources(tmp_path)

    found = load_checkpoint(all_sources[kind])

    tied = {"embed.weight", "head.weight"}
    assert {*found.shared, *found.shared.values()} == tied and len(found.shared) == 1
    state = module.state_dict()
    assert {*found.tensors, *found.shared} == set(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.tensors.items())
    assert not any(tensor.requires_grad for tensor in found.tensors.values())
    assert read_header(all_sources[kind]) == found.header


def test_ties_show_on_meta_and_in_numpy(tmp_path):
    _, all_sources = sources(tmp_path)
    with torch.device("meta"):
        on_meta = Tied()
    assert dict(load_checkpoint(on_meta).shared) == {"head.weight": "embed.weight"}
    assert torch.equal(
        load_checkpoint(all_sources["numpy"]).tensors["norm.weight"],
        load_checkpoint(all_sources["module"]).tensors["norm.weight"],
    )


def test_empty_tensors_are_not_ties():
    found = load_checkpoint({"a": torch.zeros(0), "b": torch.zeros(0), "c": torch.ones(0, 3)})
    assert set(found.tensors) == {"a", "b", "c"} and not found.shared


def test_a_checkpoint_comes_back_as_it_is():
    checkpoint = Checkpoint({"module.a": torch.ones(1)})
    assert load_checkpoint(checkpoint) is checkpoint


def test_an_existing_path_wins_over_a_hub_id(tmp_path, monkeypatch):
    (tmp_path / "org" / "name").mkdir(parents=True)
    save_file({"a": torch.ones(1)}, tmp_path / "org" / "name" / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    assert set(load_checkpoint("org/name").tensors) == {"a"}
    with pytest.raises(CheckpointError, match=r"a local path has no revision"):
        load_checkpoint("org/name", revision="main")


@pytest.mark.parametrize("name", ["runs/missing.pt", "missing.safetensors", "./no/such", "/no/such/file"])
def test_a_missing_file_is_named_and_not_looked_for_on_the_hub(name):
    with pytest.raises(CheckpointError, match=r"no such file or folder"):
        load_checkpoint(name)


def test_an_unreadable_file_is_named(tmp_path):
    for name in ("x.safetensors", "x.pt", "x.npz", "x.zip", "x.onnx", "x.h5", "x.index.json"):
        (tmp_path / name).symlink_to(tmp_path / name)  # a link to itself cannot be opened by anyone
        with pytest.raises(CheckpointError, match=rf"{name}: .*Check"):
            load_checkpoint(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match=r"not a regular file"):
        load_checkpoint(tmp_path / "pipe.pt")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_forbidden_file_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(1)}, path)
    path.chmod(0)
    with pytest.raises(CheckpointError, match=r"Permission denied"):
        load_checkpoint(path)


def test_a_folder_must_say_which(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint in this folder"):
        load_checkpoint(tmp_path)
    for name in ("a.pt", "b.pt"):
        torch.save({"w": torch.ones(1)}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"2 checkpoints in this folder \(a.pt, b.pt\)"):
        load_checkpoint(tmp_path)
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert load_checkpoint(tmp_path).metadata["config"] == "{}"
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json: not readable as JSON"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("source", [3, None, [1], np.ones(3)], ids=str)
def test_what_is_no_source_says_what_would_be(source):
    with pytest.raises(CheckpointError, match=r"Pass a path, a hub id, a state dict or an nn.Module"):
        load_checkpoint(source)


def test_another_format_is_named(tmp_path):
    (tmp_path / "x.txt").write_text("words")
    with pytest.raises(FormatError, match=r"not a format that is read here \(.safetensors"):
        load_checkpoint(tmp_path / "x.txt")


@pytest.mark.parametrize("known", [known for known in FORMATS if known.needs], ids=lambda known: known.name)
def test_a_missing_extra_is_named(known, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, known.needs, None)
    (tmp_path / f"x{known.suffixes[0]}").write_bytes(b"content")
    with pytest.raises(FormatError, match=rf"{known.needs}: pip install 'weightspace\[formats\]'"):
        load_checkpoint(tmp_path / f"x{known.suffixes[0]}")


def test_order_and_metadata_are_kept(tmp_path):
    state = OrderedDict((name, torch.ones(1)) for name in "zay")
    torch.save({"state_dict": state, "epoch": 4}, tmp_path / "x.pt")
    found = load_checkpoint(tmp_path / "x.pt")
    assert list(found.tensors) == list("zay") and found.metadata == {"epoch": "4"}


def test_a_large_file_is_mapped_and_not_copied(tmp_path):
    import resource

    with (tmp_path / "x.safetensors").open("wb") as file:
        size = 268_435_456
        text = f'{{"w":{{"dtype":"F32","shape":[{size // 4}],"data_offsets":[0,{size}]}}}}'.encode()
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = load_checkpoint(tmp_path / "x.safetensors")
    assert found.tensors["w"].shape == (size // 4,) and found.tensors["w"][-1] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
