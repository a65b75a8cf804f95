"""`weightspace zoo`: build, info, evaluate, import, export, list, and what each does with bad inputs."""

import json
import shutil

import pandas as pd
import pytest
import torch
import yaml

from weightspace.cli import run
from weightspace.zoo import load
from weightspace.zoo.training import StackTraining

RECIPE = {
    "name": "tiny",
    "family": "mlp",
    "runs": 4,
    "snapshots": [0, 2],
    "batch_size": 64,
    "storage": "fp32",
    "stack": 2,
    "sample": {"dataset": {"choice": ["digits", "wine"]}, "width": 4, "depth": 1, "learning_rate": 0.01},
}


def _zoo(*arguments):
    return run(["zoo", *map(str, arguments)])


def _write_recipe(folder, **changes):
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(RECIPE | changes))
    return path


def _content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A population of 4 runs x 2 snapshots, and its recipe."""
    folder = tmp_path_factory.mktemp("zoo")
    assert _zoo("build", _write_recipe(folder), "-o", folder / "population") == 0
    return folder / "population"


@pytest.fixture
def population(built, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(built, tmp_path / "population")


def test_what_ships_is_listed(capsys):
    assert _zoo("list", "--json") == 0
    rows = {(row["kind"], row["name"]): row for row in json.loads(capsys.readouterr().out)}
    digits, lineage = rows["recipe", "mlp_digits"], rows["recipe", "lineage"]
    assert (digits["family"], digits["datasets"], digits["snapshots"]) == ("mlp", ["digits"], 3)
    assert digits["checkpoints"] == 3 * digits["runs"] and lineage["checkpoints"] == 13 * lineage["runs"]
    assert _zoo("list") == 0
    said = capsys.readouterr().out
    assert all(name in said for _, name in rows) and "and 27 more" in said


def test_a_build_says_what_it_made_and_a_second_one_changes_nothing(built, capsys):
    before = _content(built)
    assert _zoo("build", built / "recipe.yaml", "-o", built, "--json") == 0
    said, errors = capsys.readouterr()
    found = json.loads(said)
    assert (found["recipe"], found["runs"], found["checkpoints"], errors) == ("tiny", 4, 8, "")
    assert _content(built) == before and "work" not in {name.split("/")[0] for name in before}


def test_an_interrupted_build_goes_on_and_ends_with_the_same_files(built, tmp_path, monkeypatch, capsys):
    advance, steps = StackTraining.advance, []

    def interrupted(self):
        steps.append(self.step)
        if len(steps) == 30:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(StackTraining, "advance", interrupted)
    words = ("build", built / "recipe.yaml", "-o", tmp_path / "again", "--save-every", "0.000001")
    assert _zoo(*words) == 130
    assert (tmp_path / "again" / "work").exists()
    assert _zoo(*words) == 0
    assert _content(tmp_path / "again") == _content(built)
    taken = len(steps) - 1  # the step that was interrupted is taken once more
    assert _zoo("build", built / "recipe.yaml", "-o", tmp_path / "whole") == 0
    assert taken == len(steps) - 1 - taken > 30


def test_a_folder_that_holds_something_else_is_kept(built, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("precious")
    assert _zoo("build", built / "recipe.yaml", "-o", tmp_path) == 2
    assert capsys.readouterr().err.startswith(f"weightspace: {tmp_path} holds other files (no recipe.yaml)")
    assert _zoo("import", built, "-o", tmp_path) == 2
    assert _zoo("build", built / "recipe.yaml", "-o", tmp_path / "notes.txt") == 2
    assert _content(tmp_path) == {"notes.txt": b"precious"}
    assert _zoo("build", _write_recipe(tmp_path, runs=5), "-o", built) == 1
    assert "holds the population of another recipe" in capsys.readouterr().err


def test_a_build_killed_at_its_first_file_goes_on(built, tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / ".recipe.yaml.0.tmp").write_text("na")
    assert _zoo("build", built / "recipe.yaml", "-o", tmp_path / "again") == 0
    assert load(tmp_path / "again").frame().equals(load(built).frame())


@pytest.mark.parametrize(
    "arguments, status, text",
    [
        (["build", "no_such_recipe", "-o", "x"], 1, "no_such_recipe"),
        (["build", "smallcnn_mnist", "-o", "x"], 1, "there is no file mnist.npz"),
        (["build", "mlp_digits", "-o", "x", "--save-every", "0"], 2, "--save-every"),
        (["build", "mlp_digits"], 2, "--output"),
        (["info", "nowhere"], 1, "no population"),
        (["evaluate", "nowhere", "--split", "half"], 2, "half"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_calls_are_one_line(arguments, status, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _zoo(*arguments) == status
    said, errors = capsys.readouterr()
    assert said == "" and text in errors and errors.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator here")
def test_a_device_that_is_not_there_is_named(built, tmp_path, capsys):
    assert _zoo("build", built / "recipe.yaml", "-o", tmp_path / "x", "--device", "cuda") == 2
    assert "--device cuda: no such device" in capsys.readouterr().err


def test_info_counts_what_is_there(built, capsys):
    assert _zoo("info", built, "--json") == 0
    found, frame = json.loads(capsys.readouterr().out), load(built).frame()
    assert (found["recipe"], found["runs"], found["checkpoints"]) == ("tiny", 4, 8)
    assert sum(part["checkpoints"] for part in found["splits"].values()) == 8
    assert found["columns"] == list(frame) and found["unfinished"] is False
    for row in found["datasets"]:
        last = frame[(frame["dataset"] == row["dataset"]) & (frame["snapshot"] == 1)]["test_accuracy"]
        assert row["quantiles"]["max"] == pytest.approx(last.max()) and row["networks"] == len(last)
    assert _zoo("info", built) == 0
    said = capsys.readouterr().out
    assert "at the end of training" in said and "width 4" in said and "generalisation_gap" in said


def test_evaluation_finds_what_was_recorded(built, capsys):
    assert _zoo("evaluate", built, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verified"], found["measured"], found["failed"]) == (8, 8, 0)
    assert {row["dataset"] for row in found["datasets"]} == {"digits", "wine"}
    for row in found["datasets"]:
        assert row["compared"] == row["networks"] and row["incomparable"] == 0
        assert row["max_accuracy_deviation"] < 1e-6 and row["max_loss_deviation"] < 1e-5
    assert _zoo("evaluate", built) == 0
    assert "max accuracy deviation" in capsys.readouterr().out


def test_evaluation_sees_a_manifest_that_flatters(population, capsys):
    path = population / "manifest.parquet"
    frame = pd.read_parquet(path)
    frame.loc[3, "test_accuracy"] += 0.125
    frame.to_parquet(path)
    assert _zoo("evaluate", population, "--json") == 0
    rows = {row["dataset"]: row for row in json.loads(capsys.readouterr().out)["datasets"]}
    assert rows[frame["dataset"][3]]["max_accuracy_deviation"] == pytest.approx(0.125, abs=1e-6)


def test_evaluation_of_a_split_or_on_other_data(built, capsys):
    splits = load(built).frame()["split"].value_counts()
    for name, count in splits.items():
        assert _zoo("evaluate", built, "--split", name, "--json") == 0
        assert json.loads(capsys.readouterr().out)["measured"] == count
    frame = load(built).frame()
    assert _zoo("evaluate", built, "--dataset", "wine", "--json") == 1
    said, errors = capsys.readouterr()
    (row,) = json.loads(said)["datasets"]
    assert row["networks"] == (frame["dataset"] == "wine").sum() and "inputs=(13,)" in errors


def test_altered_weights_are_named_and_the_others_measured(population, capsys):
    shard = sorted((population / "shards").iterdir())[0]
    content = bytearray(shard.read_bytes())
    content[-2] ^= 1
    shard.write_bytes(content)
    assert _zoo("evaluate", population, "--json") == 1
    said, errors = capsys.readouterr()
    found = json.loads(said)
    assert (found["verified"], found["measured"], found["failed"]) == (7, 7, 1)
    assert "SHA-256 differs" in errors and errors.count("\n") == 1


def test_what_is_exported_is_imported_again(built, tmp_path, capsys):
    where = ("--where", "snapshot == 1", "--where", "dataset==wine")
    assert _zoo("export", built, "-o", tmp_path / "files", *where, "--json") == 0
    wanted = load(built).frame(where=[("snapshot", "==", 1), ("dataset", "==", "wine")])
    assert json.loads(capsys.readouterr().out)["checkpoints"] == len(wanted) > 0
    assert _zoo("import", tmp_path / "files", "-o", tmp_path / "back", "--json") == 0
    assert json.loads(capsys.readouterr().out)["checkpoints"] == len(wanted)
    back = load(tmp_path / "back").frame()
    assert dict(zip(back["id"], back["sha256"], strict=True)) == dict(zip(wanted["id"], wanted["sha256"], strict=True))
    assert _zoo("evaluate", tmp_path / "back", "--json") == 0
    assert json.loads(capsys.readouterr().out)["datasets"][0]["max_accuracy_deviation"] < 1e-6


def test_a_bad_file_of_an_import_is_named_and_the_others_read(built, tmp_path, capsys):
    assert _zoo("export", built, "-o", tmp_path / "files") == 0
    first = sorted((tmp_path / "files" / "checkpoints").iterdir())[0]
    first.write_bytes(b"no weights")
    capsys.readouterr()
    assert _zoo("import", tmp_path / "files", "-o", tmp_path / "back", "--json") == 1
    said, errors = capsys.readouterr()
    assert json.loads(said)["checkpoints"] == 7 and first.name in errors


@pytest.mark.parametrize(
    "condition, status, text",
    [
        ("test_accuracy", 2, "is no condition"),
        ("height>3", 1, "no columns ['height']"),
        ("split>0.5", 1, "do not fit the columns"),
        ("run>99", 1, "none of 8 checkpoints"),
    ],
)
def test_conditions_that_fit_nothing_are_named(built, tmp_path, condition, status, text, capsys):
    assert _zoo("export", built, "-o", tmp_path / "files", "--where", condition) == status
    assert text in capsys.readouterr().err and not (tmp_path / "files").exists()


def test_an_import_of_an_unknown_layout_is_named(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert _zoo("import", tmp_path / "empty", "-o", tmp_path / "x") == 1
    assert _zoo("import", tmp_path / "empty", "-o", tmp_path / "x", "--layout", "nonsense") == 1
    assert "layout 'nonsense' is not known" in capsys.readouterr().err


def test_a_terminal_sees_how_fast_a_build_is(tmp_path, command, on_a_terminal):
    recipe = _write_recipe(tmp_path, snapshots=[40], sample=RECIPE["sample"] | {"dataset": "digits"})
    words = [command, "zoo", "build", recipe, "-o", tmp_path / "population"]
    said = on_a_terminal(words, columns=120, stream="stderr")
    assert "/4 networks" in said and "networks/s" in said and "left" in said


def test_a_pipe_gets_the_result_alone(built, shell):
    done = shell("zoo", "evaluate", built)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith(f"{built}\n")
