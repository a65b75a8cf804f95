"""`weightspace compress` and `decompress` from end to end."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from weightspace.checkpoint.load import load_checkpoint
from weightspace.cli import run
from weightspace.decode.codec.schemes import distilled
from weightspace.execute.module import from_module


@pytest.fixture
def net(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
    from_module(module, (torch.zeros(2, 12),)).save(tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_there_and_back(net, tmp_path, capsys):
    packed, back = tmp_path / "net.wsz", tmp_path / "back.safetensors"

    assert run(["compress", str(net), "-o", str(packed), "--bits", "6", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert run(["decompress", str(packed), "-o", str(back)]) == 0

    assert told["scheme"] == "rounding"
    assert told["bits"] <= 6
    assert told["relative_error"] < 0.05
    assert told["bytes"] == packed.stat().st_size
    assert "4 tensors, 276 weights" in capsys.readouterr().out
    for name, tensor in load_checkpoint(back).tensors.items():
        torch.testing.assert_close(tensor, load_checkpoint(net).tensors[name], atol=0.05, rtol=0)


def test_with_inputs_the_answers_are_told(net, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(distilled, "UPDATES", 24)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32))

    code = run(
        ["compress", str(net), "-o", str(tmp_path / "a.wsz"), "--bits", "5", "--inputs", str(tmp_path / "x.npy")]
    )

    assert code == 0
    assert "answers agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "status", "match"),
    [
        (["--inputs", "none.npy"], 2, "cannot be read"),
        (["--bits", "0"], 2, "bits"),
        (["--scheme", "zip"], 1, "no scheme 'zip'"),
        (["--scheme", "distilled"], 1, "pass inputs"),
    ],
)
def test_wrong_use_is_named_and_nothing_is_written(net, tmp_path, capsys, more, status, match):
    assert run(["compress", str(net), "-o", str(tmp_path / "a.wsz"), *more]) == status
    assert match in capsys.readouterr().err
    assert not (tmp_path / "a.wsz").exists()


def test_an_existing_output_stays(net, tmp_path, capsys):
    (tmp_path / "a.wsz").write_text("mine")

    assert run(["compress", str(net), "-o", str(tmp_path / "a.wsz")]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "a.wsz").read_text() == "mine"


def test_what_is_no_compressed_file_is_named(net, tmp_path, capsys):
    assert run(["decompress", str(net), "-o", str(tmp_path / "b.safetensors")]) == 1
    assert "no compressed checkpoint" in capsys.readouterr().err
