"""Hashes: of files their bytes, of weights what they are and nothing else."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.digest import content_hash
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError

STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor(3)}


def test_of_a_file_it_is_the_hash_of_its_bytes(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    expected = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert content_hash(tmp_path / "model.safetensors") == content_hash(str(tmp_path)) == expected


def test_of_a_sharded_set_it_is_the_hash_of_all_shards_in_order(tmp_path):
    save_file({"b": STATE["b"]}, tmp_path / "2.safetensors")
    save_file({"a": STATE["a"]}, tmp_path / "1.safetensors")
    (tmp_path / "x.index.json").write_text(json.dumps({"weight_map": {"b": "2.safetensors", "a": "1.safetensors"}}))
    both = (tmp_path / "1.safetensors").read_bytes() + (tmp_path / "2.safetensors").read_bytes()
    assert content_hash(tmp_path / "x.index.json") == hashlib.sha256(both).hexdigest()


def test_the_same_weights_have_the_same_hash_wherever_they_are(tmp_path):
    save_file(STATE, tmp_path / "x.safetensors")
    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "x.pt")
    turned = {name: STATE[name] for name in reversed(STATE)}
    sources = [STATE, turned, tmp_path / "x.safetensors", tmp_path / "x.pt"]
    assert len({content_hash(load_checkpoint(source)) for source in sources}) == 1


@pytest.mark.parametrize(
    "other",
    [
        {**STATE, "a": STATE["a"].T.contiguous()},
        {**STATE, "a": STATE["a"].reshape(6)},
        {**STATE, "b": STATE["b"].half()},
        {**STATE, "n": torch.tensor(4)},
        {"x" if name == "a" else name: tensor for name, tensor in STATE.items()},
        {**STATE, "c": STATE["a"]},
    ],
    ids=["values", "shape", "dtype", "a counter", "a name", "a tie"],
)
def test_every_difference_shows(other):
    assert content_hash(load_checkpoint(other)) != content_hash(load_checkpoint(STATE))


def test_a_view_has_the_hash_of_what_it_shows():
    whole = STATE["a"]
    assert content_hash(Checkpoint({"a": whole.T})) == content_hash(Checkpoint({"a": whole.T.contiguous()}))


def test_a_tensor_without_numbers_is_named():
    with pytest.raises(CheckpointError, match=r"tensor 'a' is on the meta device"):
        content_hash(Checkpoint({"a": torch.zeros(2, device="meta")}))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no such file"):
        content_hash(tmp_path / "x.pt")
