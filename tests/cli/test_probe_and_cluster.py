"""`weightspace probe` and `weightspace cluster`, on a table that `weightspace zoo embed` wrote."""

import json

import pytest

from weightspace.cli import run
from weightspace.latents.table import LatentTable


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("latents") / "digits.parquet"
    assert run(["zoo", "embed", "mlp_digits", "-o", str(path), "--where", "snapshot==2", "--where", "width==16"]) == 0
    return path


def test_a_population_becomes_a_table_once(table, capsys):
    latents = LatentTable.read_parquet(table)
    assert set(latents["snapshot"]) == {2} and latents.fine.all()
    assert run(["zoo", "embed", "mlp_digits", "-o", str(table)]) == 2
    assert "exists: pass --force" in capsys.readouterr().err


def test_properties_are_told_with_all_that_belongs_to_a_score(table, capsys):
    quick = ["--seeds", "1", "--permutations", "19"]
    assert run(["probe", str(table), "activation", "test_accuracy", *quick, "--json"]) == 0
    names, numbers = json.loads(capsys.readouterr().out)
    assert names["score"] > 0.95 > 0.7 > names["chance"] and names["p_value"] == 0.05 and names["by"] == "run"
    assert numbers["kind"] == "number" and -1 <= numbers["tau"] <= 1 and 0.7 < numbers["coverage"] <= 1
    assert run(["probe", str(table), "activation", *quick]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_a_property_that_cannot_be_told_is_named_and_the_others_are(table, capsys):
    assert run(["probe", str(table), "dataset", "activation", "colour", "--seeds", "1", "--permutations", "9"]) == 1
    said, errors = capsys.readouterr()
    assert "activation" in said and len(errors.splitlines()) == 2
    assert "column 'dataset' is digits in every row" in errors and "no property 'colour'" in errors


def test_clusters_are_written_beside_the_table(table, tmp_path, capsys):
    output = tmp_path / "clusters.parquet"
    call = ["cluster", str(table), "--method", "kmeans", "--clusters", "3", "-o", str(output)]
    assert run([*call, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = LatentTable.read_parquet(output)
    assert [(written["cluster"] == one["label"]).sum() for one in told["clusters"]] == [
        one["rows"] for one in told["clusters"]
    ]
    assert (written["id"] == LatentTable.read_parquet(table)["id"]).all()
    assert run(call) == 2 and "pass --force" in capsys.readouterr().err
    assert run([*call, "--force"]) == 0 and "set apart by" in capsys.readouterr().out


def test_what_cannot_be_clustered_is_one_line_and_nothing_is_written(table, tmp_path, capsys):
    output = tmp_path / "clusters.parquet"
    for arguments, status, said in (
        (["--clusters", "3"], 1, "HDBSCAN finds how many"),
        (["--method", "kmeans", "--clusters", "1000"], 1, "ask for 2 to"),
        (["--method", "colour"], 2, "colour"),
    ):
        assert run(["cluster", str(table), "-o", str(output), *arguments]) == status
        line = capsys.readouterr().err.strip()
        assert said in line and len(line.splitlines()) == 1 and not output.exists()
    assert run(["cluster", str(table), "-o", str(table), "--force"]) == 2
    assert "is the table that is read" in capsys.readouterr().err
    assert run(["cluster", str(tmp_path / "absent.parquet")]) == 1
    assert "cannot be read" in capsys.readouterr().err
