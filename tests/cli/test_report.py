"""`weightspace report`: its page, its JSON, and what it does with bad inputs and outputs."""

import json

import pytest

from weightspace.cli import run


def _report(*arguments):
    return run(["report", *map(str, arguments)])


def test_a_page_and_json(runs, tmp_path, capsys):
    page = tmp_path / "report.html"
    assert _report(runs / "net0.safetensors", "-o", page) == 0
    assert "32 weights, 0 anomalies" in capsys.readouterr().out and page.read_text().startswith("<!doctype html>")
    assert _report(runs / "net0.safetensors", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weights"] == 32 and len(found["stats"]) == len(found["curves"]) == 4
    assert found["unit_findings"][0]["units"] == 5 and found["predictions"] is None and found["neighbours"] == []


def test_neighbours_are_of_a_table(runs, tmp_path, capsys):
    table = tmp_path / "latents.parquet"
    assert run(["embed", str(runs), "-o", str(table)]) == 0
    capsys.readouterr()
    assert _report(runs / "net0.safetensors", "--table", table, "--json") == 0
    assert {row["id"] for row in json.loads(capsys.readouterr().out)["neighbours"]} == {"net1", "net2"}


def test_nothing_is_overwritten_and_something_is_asked_for(runs, tmp_path, capsys):
    page = tmp_path / "report.html"
    page.write_text("mine")
    source = runs / "net0.safetensors"
    before = source.read_bytes()
    assert _report(source, "-o", page) == 2 and page.read_text() == "mine"
    assert _report(source) == 2 and _report(source, "-o", source, "--force") == 2
    assert source.read_bytes() == before
    said = capsys.readouterr().err
    assert "--force" in said and "--json" in said and "the checkpoint itself" in said
    assert _report(source, "-o", page, "--force") == 0 and page.read_text() != "mine"


@pytest.mark.parametrize("bad", ["truncated", "absent", "table", "parent"])
def test_bad_inputs_are_one_sentence(runs, truncated, tmp_path, capsys, bad):
    source = {"truncated": truncated, "absent": tmp_path / "absent.pt"}.get(bad, runs / "net0.safetensors")
    flags = {"table": ["--table", source], "parent": ["--parent", truncated]}.get(bad, [])
    assert _report(source, "-o", tmp_path / "report.html", *flags) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said and not (tmp_path / "report.html").exists()
