"""Stable-Baselines3: the policy is read, the pickled objects beside it are not touched."""

import base64
import io
import json
import os
import pickle
import zipfile

import pytest
import torch

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import FormatError, UnsafeCheckpointError

POLICY = {"mlp_extractor.policy_net.0.weight": torch.arange(6.0).reshape(3, 2), "log_std": torch.zeros(2)}


class Runs:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def part(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def agent(path, parts):
    pickled = base64.b64encode(pickle.dumps(Runs(path.parent / "marker"))).decode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {":type:": "x", ":serialized:": pickled}}))
        archive.writestr("_stable_baselines3_version", "2.3.0")
        for name, content in parts.items():
            archive.writestr(name, part(content))
    return path


def test_the_policy_is_read_alone(tmp_path):
    adam = {"state": {0: {"exp_avg": torch.ones(1)}}}
    parts = {"policy.pth": POLICY, "policy.optimizer.pth": adam, "pytorch_variables.pth": {"ent_coef": torch.ones(1)}}

    found = load_checkpoint(agent(tmp_path / "x.zip", parts))

    assert list(found.tensors) == list(POLICY)
    assert all(torch.equal(found.tensors[name], POLICY[name]) for name in POLICY)
    assert set(found.left_out) == {
        "data",
        "_stable_baselines3_version",
        "policy.optimizer.pth",
        "pytorch_variables.pth",
    }
    assert found.metadata["stable_baselines3"] == "2.3.0"
    assert not (tmp_path / "marker").exists()


def test_without_a_policy_the_parts_keep_their_names(tmp_path):
    parts = {"actor.pth": {"w": torch.ones(2)}, "critic.pth": {"w": torch.zeros(2)}, "actor.optimizer.pth": {}}
    found = load_checkpoint(agent(tmp_path / "x.zip", parts))
    assert list(found.tensors) == ["actor.w", "critic.w"]


def test_a_policy_that_runs_code_is_refused_and_not_run(tmp_path):
    path = agent(tmp_path / "x.zip", {"policy.pth": {**POLICY, "run": Runs(tmp_path / "marker")}})
    with pytest.raises(UnsafeCheckpointError, match=r"x.zip: policy.pth: the pickle asks for posix.mkdir"):
        load_checkpoint(path)
    assert not (tmp_path / "marker").exists()


def test_another_zip_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"without state dicts \(.pth\)"):
        load_checkpoint(agent(tmp_path / "x.zip", {}))
