"""`weightspace inspect`: what it says, and what it does with bad inputs."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import weightspace.graph.infer
from weightspace.cli import run


def test_a_network_is_described(runs, capsys):
    assert run(["inspect", str(runs / "net0.safetensors")]) == 0
    said, errors = capsys.readouterr()
    assert errors == ""
    assert re.search(r"weights +32\b", said) and re.search(r"tensors +4 \(4 F32\)", said)
    assert re.search(r"understood +100.0% of the weights", said)
    assert re.search(r"free units +5 of 10 may be relabelled", said)
    assert re.search(r"weight +F32 +5x3 +15 +linear", said)


def test_json_holds_what_the_header_holds(runs, capsys):
    assert run(["inspect", str(runs), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["path"] for entry in found] == [str(runs / f"net{i}.safetensors") for i in range(3)]
    for entry in found:
        assert (entry["weights"], entry["free_units"], entry["understood"], entry["error"]) == (32, 5, 1.0, "")
        shapes = {block["name"]: tuple(block["shape"]) for block in entry["blocks"]}
        assert shapes == {name: tuple(t.shape) for name, t in load_file(entry["path"]).items()}
        assert "stats" not in entry
    assert sorted(axis["role"] for axis in found[0]["axes"]) == ["hidden", "input", "output"]


def test_statistics_are_those_of_the_weights(runs, capsys):
    path = runs / "net1.safetensors"
    assert run(["inspect", str(path), "--stats", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)[0]["stats"]}
    weights = load_file(path)
    assert set(rows) == set(weights)
    expected = weights["0.weight"].double().numpy()
    np.testing.assert_allclose(rows["0.weight"]["std"], expected.std(), rtol=1e-12)
    np.testing.assert_allclose(rows["0.weight"]["spectral_norm"], np.linalg.norm(expected, 2), rtol=1e-10)
    assert rows["0.bias"]["spectral_norm"] is None


def test_statistics_have_a_row_a_tensor(runs, capsys):
    assert run(["inspect", str(runs / "net1.safetensors"), "--stats"]) == 0
    table = capsys.readouterr().out.split("statistics\n")[1].splitlines()
    assert [line.split()[0] for line in table[1:5]] == ["0.bias", "0.weight", "2.bias", "2.weight"]


def test_json_stays_json_where_weights_are_not_numbers(tmp_path, capsys):
    save_file({"w": torch.full((2, 2), float("nan"))}, tmp_path / "nan.safetensors")
    assert run(["inspect", str(tmp_path), "--stats", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]["stats"][0]
    assert (row["nonfinite"], row["mean"], row["quantiles"]) == (4, None, [None] * 5)


def test_a_truncated_file_is_named_and_the_others_are_done(runs, truncated, capsys):
    assert run(["inspect", str(truncated), str(runs), "--json"]) == 1
    said, errors = capsys.readouterr()
    first, *others = json.loads(said)
    assert first["path"] == str(truncated) and str(truncated) in first["error"]
    assert [entry["error"] for entry in others] == ["", "", ""]
    assert errors == f"weightspace: {first['error']}\n"


def test_a_missing_file_is_named(runs, capsys):
    assert run(["inspect", "missing.safetensors", str(runs / "net0.safetensors")]) == 1
    said, errors = capsys.readouterr()
    assert errors.startswith("weightspace: missing.safetensors: no such file") and errors.count("\n") == 1
    assert "net0.safetensors" in said


def test_a_folder_without_checkpoints_is_named(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(["inspect", str(empty)]) == 1
    assert capsys.readouterr().err.startswith(f"weightspace: {empty}: no checkpoint in this folder")


@pytest.mark.parametrize("flags", [[], ["--stats"], ["--json"]])
def test_a_header_that_lies_is_an_error_in_every_mode(tmp_path, capsys, flags):
    path = tmp_path / "lies.safetensors"
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    assert run(["inspect", str(path), *flags]) == 1
    assert str(path) in capsys.readouterr().err


def test_names_in_a_file_cannot_steer_the_terminal(tmp_path, capsys):
    save_file({"a\x1b[31m\nb": torch.ones(2, 2)}, tmp_path / "rude.safetensors")
    assert run(["inspect", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and r"a\x1b[31m\nb" in said


def test_a_fault_in_reading_one_file_does_not_end_the_batch(runs, monkeypatch, capsys):
    infer = weightspace.graph.infer.infer_graph

    def faulty(header):
        if "faulty" in header.metadata:
            raise RecursionError("too deep")
        return infer(header)

    monkeypatch.setattr(weightspace.graph.infer, "infer_graph", faulty)
    path = runs / "a.safetensors"
    save_file({"w": torch.ones(2, 2)}, path, metadata={"faulty": "yes"})
    assert run(["inspect", str(runs)]) == 1
    said, errors = capsys.readouterr()
    assert errors == f"weightspace: {path}: RecursionError: too deep\n" and said.count("weights  ") == 3


def test_whole_numbers_alone_leave_nothing_to_understand(tmp_path, capsys):
    save_file({"n": torch.arange(3)}, tmp_path / "ints.safetensors")
    assert run(["inspect", str(tmp_path)]) == 0
    assert "no weights to understand" in capsys.readouterr().out
