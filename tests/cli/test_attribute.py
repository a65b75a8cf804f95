"""`weightspace attribute`: what it prints, and what it does with questions it cannot put."""

import json

import numpy as np
import pytest

from weightspace.cli import run
from weightspace.encode.encoder import Encoder
from weightspace.zoo.data import load_dataset

UNTRAINED = ("--encoder", "random-sweep")


@pytest.fixture
def table(runs, tmp_path):
    """Latents of three perceptrons with a property."""
    found = (
        Encoder.from_pretrained("random-sweep")
        .encode_many([runs])
        .assign({"age": [1.0, 2.0, 4.0], "name": ["a", "b", "c"]})
    )
    found.to_parquet(tmp_path / "latents.parquet")
    return tmp_path / "latents.parquet"


def _call(capsys, *arguments):
    status = run(list(map(str, arguments)))
    return status, *capsys.readouterr()


def test_a_probed_property_is_put_down_to_units(runs, table, capsys):
    asked = ("attribute", runs / "net0.safetensors", "--tells", "age", "--table", table, *UNTRAINED)
    status, out, _ = _call(capsys, *asked, "--json", "--method", "leave-one-out")
    found = json.loads(out)
    parts = [unit["part"] for unit in found["units"]]
    assert status == 0 and found["question"] == "probed age" and found["reference"] is None
    assert len(parts) == 5 and parts == sorted(parts, reverse=True)
    assert found["value"] == pytest.approx(1.0, abs=0.2) and set(found["blocks"]) >= {"0.weight", "2.bias"}
    assert found["deletion"][0]["top"] == pytest.approx(-parts[0], rel=1e-4)
    status, out, _ = _call(capsys, *asked)
    assert status == 0 and "change with units taken away" in out and "0.out" in out


def test_a_difference_is_shared_out(runs, capsys):
    status, out, _ = _call(
        capsys, "attribute", runs / "net1.safetensors", "--before", runs / "net0.safetensors", *UNTRAINED
    )
    assert status == 0 and "distance of the latents" in out and "blocks add up to" in out


def test_answers_to_inputs_of_ones_own_are_put_down_to_units(tmp_path, capsys):
    np.save(tmp_path / "inputs.npy", load_dataset("digits").x[:20].numpy())
    network = "mlp_digits:mlp_digits/000009/2"
    asked = ("attribute", network, "--tells", "answers", "--inputs", tmp_path / "inputs.npy", *UNTRAINED)
    status, out, _ = _call(capsys, *asked, "--json", "--method", "leave-one-out")
    found = json.loads(out)
    assert status == 0 and found["value"] == pytest.approx(0, abs=1e-6)
    assert max(unit["part"] for unit in found["units"]) > 1e-3


def test_the_accuracy_on_labelled_inputs_is_put_down_to_units(tmp_path, capsys):
    data, network = load_dataset("digits"), "mlp_digits:mlp_digits/000009/2"
    np.save(tmp_path / "inputs.npy", data.x[:200].numpy())
    np.save(tmp_path / "labels.npy", data.y[:200].numpy())
    asked = ("attribute", network, "--tells", "accuracy", *UNTRAINED, "--json", "--inputs", tmp_path / "inputs.npy")
    status, out, _ = _call(capsys, *asked, "--labels", tmp_path / "labels.npy")
    found = json.loads(out)
    assert status == 0 and 0.1 < found["value"] < 1 and max(unit["part"] for unit in found["units"]) > 1e-3
    for labels, code, said in (
        (data.y[:199].numpy(), 1, "one whole number an input"),
        (data.y[:200].numpy() + 1, 1, "from 0 to 9"),
        (data.y[:200].float().numpy(), 2, "one row of whole numbers"),
    ):
        np.save(tmp_path / "wrong.npy", labels)
        status, out, err = _call(capsys, *asked, "--labels", tmp_path / "wrong.npy")
        assert status == code and said in err and not out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--tells", "age"), 1, "has learned no property"),
        (("--tells", "answers"), 1, "cannot ask it for answers"),
        (("--tells", "nothing", "--table", "TABLE"), 1, "the table has no property 'nothing'"),
        (("--tells", "name", "--table", "TABLE"), 1, "holds names"),
        (("--tells", "age", "--inputs", "INPUTS"), 2, "--inputs is for --tells answers or accuracy"),
        (("--tells", "answers", "--inputs", "INPUTS", "--table", "TABLE"), 2, "without --table"),
        (("--tells", "answers", "--inputs", "CHECKPOINT"), 2, "name a .npy file"),
        (("--tells", "accuracy", "--inputs", "INPUTS"), 2, "takes --inputs and --labels"),
        (("--tells", "answers", "--labels", "INPUTS"), 2, "which nothing else takes"),
        (("--tells", "accuracy", "--labels", "INPUTS"), 2, "takes --inputs beside --labels"),
        (("--before", "CHECKPOINT", "--method", "gradient"), 2, "a difference is always integrated"),
        (("--before", "CHECKPOINT"), 1, "no difference to share out"),
    ],
)
def test_questions_that_cannot_be_put_are_one_line(runs, table, capsys, arguments, status, said):
    places = {"TABLE": table, "CHECKPOINT": runs / "net0.safetensors"}
    found = _call(capsys, "attribute", runs / "net0.safetensors", *(places.get(a, a) for a in arguments), *UNTRAINED)
    assert found[0] == status and said in found[2] and found[2].count("\n") == 1 and not found[1]
