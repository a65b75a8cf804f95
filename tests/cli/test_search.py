"""`weightspace search`: by row and by file, with filters, and why; and what it refuses."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

from weightspace.cli import run
from weightspace.latents.table import LatentTable


@pytest.fixture
def table(runs, tmp_path, capsys):
    path = tmp_path / "latents.parquet"
    assert run(["embed", str(runs), "-o", str(path)]) == 0
    LatentTable.read_parquet(path).assign({"score": [0.1, 0.5, 0.9]}).to_parquet(path, overwrite=True)
    capsys.readouterr()
    return path


def _search(table, *arguments):
    return run(["search", str(table), *map(str, arguments)])


def test_a_row_is_searched_by_and_left_out(table, capsys):
    assert _search(table, "--like", "net0", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["id"] for row in told["found"]} == {"net1", "net2"}
    assert told["found"][0]["distance"] <= told["found"][1]["distance"] and "vector" not in told["found"][0]


def test_a_file_finds_its_own_row_and_its_relabelled_copy(table, runs, tmp_path, capsys):
    tensors = load_file(runs / "net1.safetensors")
    order = [4, 2, 0, 1, 3]
    tensors["0.weight"], tensors["0.bias"] = tensors["0.weight"][order], tensors["0.bias"][order]
    tensors["2.weight"] = tensors["2.weight"][:, order].contiguous()
    save_file(tensors, tmp_path / "twin.safetensors")
    for path in (runs / "net1.safetensors", tmp_path / "twin.safetensors"):
        assert _search(table, "--like", path, "-k", 1, "--json") == 0
        found = json.loads(capsys.readouterr().out)["found"]
        assert [row["id"] for row in found] == ["net1"] and found[0]["distance"] < 1e-3


def test_a_row_is_searched_by_without_torch(table):
    program = (
        f"import sys\nfrom weightspace.cli import run\nassert run({['search', str(table), '--like', 'net0']}) == 0\n"
    )
    program += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_conditions_hold_and_may_leave_nothing(table, capsys):
    assert _search(table, "--like", "net0", "--where", "score>0.6", "--json") == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)["found"]] == ["net2"]
    assert _search(table, "--like", "net0", "--where", "score>2") == 0
    assert "no row meets the conditions" in capsys.readouterr().out


def test_why_says_which_stages_agree(table, runs, capsys):
    changed = load_file(runs / "net0.safetensors")
    changed["2.weight"] = -3 * changed["2.weight"].flip(0)
    save_file(changed, runs / "head.safetensors")
    assert _search(table, "--like", runs / "head.safetensors", "-k", 3, "--why", "--json") == 0
    found = {row["id"]: row["stages"] for row in json.loads(capsys.readouterr().out)["found"]}
    same, other = found["net0"], found["net1"]
    assert [stage["stage"] for stage in same] == [stage["other"] for stage in same]
    assert same[0]["cosine"] > max(same[1]["cosine"], other[0]["cosine"])
    assert _search(table, "--like", "net0", "-k", 1, "--why") == 0
    assert "stages of net" in capsys.readouterr().out


def test_a_row_whose_file_is_gone_is_named_and_the_rest_is_told(table, runs, capsys):
    (runs / "net2.safetensors").unlink()
    assert _search(table, "--like", "net0", "--why", "--json") == 1
    said, errors = capsys.readouterr()
    assert ["stages" in row for row in json.loads(said)["found"] if row["id"] == "net1"] == [True]
    assert "net2.safetensors" in errors


def test_another_encoder_is_refused(table, runs, tmp_path, capsys):
    latents = LatentTable.read_parquet(table)
    metadata = latents.data.schema.metadata | {b"weightspace.encoder": b"other-1"}
    LatentTable(latents.data.replace_schema_metadata(metadata)).to_parquet(table, overwrite=True)
    assert _search(table, "--like", runs / "net0.safetensors") == 1
    assert "holds latents of the encoder other-1, not of zoo-256" in capsys.readouterr().err
    assert _search(table, "--like", "net0") == 0  # no encoder is needed


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--like", "absent"], 1, "absent: no such file"),
        (["--like", "net0", "--where", "colour==red"], 1, "no column colour to filter by"),
        (["--like", "net0", "--where", "colour"], 2, "is no condition"),
        (["--like", "net0", "--k", "0"], 2, "k"),
        ([], 2, "like"),
    ],
)
def test_what_cannot_be_searched_is_one_line(table, capsys, arguments, status, said):
    assert _search(table, *arguments) == status
    line = capsys.readouterr().err.strip()
    assert said in line and len(line.splitlines()) == 1
