"""`weightspace map`: files it writes, and what it does with bad inputs and outputs."""

import json

import pytest

from tests.latents.tables import clusters
from weightspace.cli import run
from weightspace.latents.map import read_map


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "latents.parquet"
    clusters().to_parquet(path)
    return path


def _map(*arguments):
    return run(["map", *map(str, arguments)])


def test_a_file_for_each_ending(table, tmp_path, capsys):
    outputs = [tmp_path / f"map.{ending}" for ending in ("html", "parquet", "svg", "png")]
    flags = [word for path in outputs for word in ("-o", path)]
    assert _map(table, *flags, "--colour", "dataset", "--method", "pca", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert about["checkpoints"] == 60 and about["method"] == "pca" and about["left_out"] == 0
    assert all(path.stat().st_size > 1000 for path in outputs)
    assert outputs[0].read_text().startswith("<!doctype html>") and len(read_map(outputs[1])) == 60


def test_new_checkpoints_are_put_on_an_old_map(table, tmp_path, capsys):
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    assert _map(table, "-o", old) == 0
    assert _map(table, "--on", old, "-o", new, "--json") == 0
    assert json.loads(capsys.readouterr().out.split("\n", 1)[1])["placed"] == 60
    assert (read_map(new).places[:60] == read_map(old).places).all()


def test_nothing_is_overwritten(table, tmp_path, capsys):
    there = tmp_path / "map.html"
    there.write_text("mine")
    assert _map(table, "-o", there, "-o", tmp_path / "map.svg") == 2 and there.read_text() == "mine"
    assert _map(table, "-o", table, "--force") == 2
    assert _map(table, "-o", tmp_path / "map.gif") == 2
    said = capsys.readouterr().err
    assert "--force" in said and "made from" in said and ".html, .parquet, .svg, .png" in said
    assert not (tmp_path / "map.svg").exists()
    assert _map(table, "-o", there, "--force", "--method", "pca") == 0 and there.read_text() != "mine"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--colour", "same"], "cannot colour by 'same'"),
        (["--colour", "absent"], "no column"),
        (["--on", "latents.parquet"], "no map of them"),
        (["--method", "isomap"], "isomap"),
    ],
)
def test_bad_wishes_are_one_sentence(table, tmp_path, capsys, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    assert _map(table, "-o", "map.html", *flags) in (1, 2)
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and "Traceback" not in said
    assert not (tmp_path / "map.html").exists()


def test_a_file_without_latents_is_named(tmp_path, capsys):
    (tmp_path / "t.parquet").write_text("no table")
    assert _map(tmp_path / "t.parquet", "-o", tmp_path / "map.html") == 1
    assert "cannot be read as Parquet" in capsys.readouterr().err
