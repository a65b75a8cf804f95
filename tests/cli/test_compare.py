"""`weightspace dedupe | lineage | diff`: what they print and write, and what they do with bad inputs."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.conftest import perceptron
from weightspace.cli import run


@pytest.fixture
def copies(runs):
    """Three perceptrons and a relabelled copy of the first."""
    tensors, order = load_file(runs / "net0.safetensors"), torch.tensor([4, 2, 0, 1, 3])
    tensors = {**tensors, **{n: tensors[n][order].contiguous() for n in ("0.weight", "0.bias")}}
    save_file({**tensors, "2.weight": tensors["2.weight"][:, order].contiguous()}, runs / "twin.safetensors")
    return runs


def _call(capsys, *arguments):
    status = run(list(map(str, arguments)))
    return status, *capsys.readouterr()


def test_dedupe_names_the_twin(copies, capsys):
    status, out, _ = _call(capsys, "dedupe", copies, "--json")
    (pair,) = json.loads(out)["pairs"]
    assert status == 0 and pair["kind"] == "relabelled" and pair["b"].endswith("twin.safetensors")
    assert "1 groups of copies" in _call(capsys, "dedupe", copies)[1]


def test_lineage_writes_graph_and_picture_and_overwrites_nothing(copies, tmp_path, capsys):
    files = ("--graphml", tmp_path / "l.graphml", "--svg", tmp_path / "l.svg")
    status, out, _ = _call(capsys, "lineage", copies, *files, "--json")
    (edge,) = json.loads(out)["edges"]
    assert status == 0 and edge["operation"] == "relabelled" and edge["direction"] == 0.5
    before = (tmp_path / "l.svg").read_bytes()
    status, _, errors = _call(capsys, "lineage", copies, *files)
    assert status == 2 and "pass --force" in errors and (tmp_path / "l.svg").read_bytes() == before
    assert _call(capsys, "lineage", copies, *files, "--force")[0] == 0


def test_diff_names_what_changed(runs, tmp_path, capsys):
    tensors = load_file(runs / "net0.safetensors")
    tensors["0.weight"][3] *= 1.3
    save_file(tensors, tmp_path / "later.safetensors")
    status, out, _ = _call(capsys, "diff", runs / "net0.safetensors", tmp_path / "later.safetensors", "--json")
    found = [unit for unit in json.loads(out)["units"] if unit["state"] != "kept"]
    assert status == 0 and [unit["unit"] for unit in found] == [3]
    assert "1 moved" in _call(capsys, "diff", runs / "net0.safetensors", tmp_path / "later.safetensors")[1]


def test_diff_of_unrelated_architectures_is_one_sentence(runs, tmp_path, capsys):
    save_file(perceptron(0, (3, 7, 2)), tmp_path / "wide.safetensors")
    status, out, errors = _call(capsys, "diff", runs / "net0.safetensors", tmp_path / "wide.safetensors")
    assert status == 1 and out == "" and "different architectures" in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize("verb", ["dedupe", "lineage"])
def test_bad_files_are_named_and_the_rest_is_done(verb, copies, truncated, capsys):
    status, out, errors = _call(capsys, verb, copies, truncated, "--json")
    assert status == 1 and "truncated.safetensors" in errors and list(json.loads(out)["problems"]) == [str(truncated)]


@pytest.mark.parametrize("verb", ["dedupe", "lineage"])
def test_one_checkpoint_and_unknown_options_are_wrong_usage(verb, runs, capsys):
    status, _, errors = _call(capsys, verb, runs / "net0.safetensors")
    assert status == 2 and "at least 2 checkpoints" in errors
    assert _call(capsys, verb, runs, "--nothing")[0] == 2
