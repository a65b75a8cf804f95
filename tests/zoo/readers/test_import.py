"""Imports that are killed, changed, wrong or large; and what holds for every layout."""

import subprocess
import sys

import pandas as pd
import pytest

from tests.zoo.readers.miniature import write_agent, write_model_zoo, write_small_cnn_zoo
from weightspace import zoo
from weightspace.errors import ZooError
from weightspace.zoo.readers import LAYOUTS, import_zoo, importing, read_problems, recognise
from weightspace.zoo.readers.importing import complete_rows, cut_rows


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(importing, "PIECE_ROWS", 5)


@pytest.mark.parametrize("stopped_after", [1, 2])
@pytest.mark.parametrize("where", ["before", "between shard and manifest"])
def test_a_stopped_import_goes_on_and_ends_with_the_same_files(
    tmp_path, monkeypatch, small_pieces, stopped_after, where
):
    write_small_cnn_zoo(tmp_path / "zoo")
    import_zoo(tmp_path / "zoo", tmp_path / "whole")
    append, calls = importing.append_parts, []

    def stopping(folder, shard, parts):
        if len(calls) == stopped_after:
            if where != "before":
                (folder / "shards" / shard).write_bytes(b"half a shard")
            raise KeyboardInterrupt
        calls.append(shard)
        return append(folder, shard, parts)

    monkeypatch.setattr(importing, "append_parts", stopping)
    with pytest.raises(KeyboardInterrupt):
        import_zoo(tmp_path / "zoo", tmp_path / "out")
    before = len(zoo.load(tmp_path / "out"))
    monkeypatch.setattr(importing, "append_parts", append)
    seen = []
    population = import_zoo(tmp_path / "zoo", tmp_path / "out", progress=lambda done, total: seen.append((done, total)))

    assert 0 < before < 12 and population.verify() == 12 and seen[-1] == (12, 12)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_what_an_import_goes_on_from(tmp_path, small_pieces):
    write_small_cnn_zoo(tmp_path / "zoo", runs=40)
    import_zoo(tmp_path / "zoo", tmp_path / "whole")
    script = (
        "import sys; from weightspace.zoo.readers import importing, import_zoo; importing.PIECE_ROWS = 5;"
        "import_zoo(sys.argv[1], sys.argv[2], progress=lambda done, total: print(done, flush=True))"
    )
    run = [sys.executable, "-c", script, str(tmp_path / "zoo"), str(tmp_path / "out")]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "5\n"
        process.kill()
    assert len(zoo.load(tmp_path / "out")) < 120
    import_zoo(tmp_path / "zoo", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_finished_import_is_not_done_again(tmp_path):
    write_small_cnn_zoo(tmp_path / "zoo")
    import_zoo(tmp_path / "zoo", tmp_path / "out")
    before = contents(tmp_path / "out")
    assert len(import_zoo(tmp_path / "zoo", tmp_path / "out")) == 12 and contents(tmp_path / "out") == before


def test_problems_are_noted_once_however_often_it_is_tried(tmp_path, monkeypatch):
    write_model_zoo(tmp_path / "zoo")
    bad = sorted((tmp_path / "zoo").glob("*/checkpoint_*/checkpoints"))[:3]
    for path in bad:
        path.write_bytes(b"no weights")
    monkeypatch.setattr(importing, "PIECE_ROWS", 3)
    for _ in range(3):
        assert len(import_zoo(tmp_path / "zoo", tmp_path / "out")) == 6
        assert len(read_problems(tmp_path / "out")) == 3


def test_nothing_readable_is_an_error_that_names_the_first_problem(tmp_path):
    write_agent(tmp_path / "zoo" / "a.zip", 0)
    data = (tmp_path / "zoo" / "a.zip").read_bytes()
    (tmp_path / "zoo" / "a.zip").write_bytes(data[:-40])
    with pytest.raises(ZooError, match=r"none of 1 checkpoints could be read.*a\.zip"):
        import_zoo(tmp_path / "zoo", tmp_path / "out", layout="sb3_agents")


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    write_small_cnn_zoo(tmp_path / "zoo")
    write_small_cnn_zoo(tmp_path / "other", runs=5)
    import_zoo(tmp_path / "zoo", tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(ZooError, match="holds the import of something else"):
        import_zoo(tmp_path / "other", tmp_path / "out")
    (tmp_path / "out" / "import.json").unlink()
    with pytest.raises(ZooError, match="a population that was not imported"):
        import_zoo(tmp_path / "zoo", tmp_path / "out")
    assert contents(tmp_path / "out") | {"import.json": before["import.json"]} == before


def test_what_is_no_zoo_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "cifar10.tar.xz").write_bytes(b"")
    with pytest.raises(ZooError, match=r"none of the layouts.*small_cnn_zoo"):
        recognise(tmp_path / "empty")
    with pytest.raises(ZooError, match="Unpack it first"):
        recognise(tmp_path / "cifar10.tar.xz")
    with pytest.raises(ZooError, match="no such file or folder"):
        import_zoo(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ZooError, match="is the zoo itself"):
        import_zoo(tmp_path / "empty", tmp_path / "empty", layout="table")
    with pytest.raises(ZooError, match=r"layout 'zoo' is not known; there are small_cnn_zoo"):
        import_zoo(tmp_path / "empty", tmp_path / "out", layout="zoo")


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"small_cnn_zoo"}))
def test_an_empty_folder_under_any_layout_is_an_error(tmp_path, layout):
    with pytest.raises(ZooError, match=r"no checkpoint was found|no CSV with a column"):
        import_zoo(tmp_path, tmp_path.parent / f"{tmp_path.name}-out", layout=layout)


def rows(**columns):
    size = len(columns["id"])
    return pd.DataFrame({"run_name": columns["id"], "bytes": [1] * size, **columns})


def test_a_run_in_two_splits_is_refused():
    torn = rows(id=["a", "b", "c"], run_name=["x", "x", "y"], split=["train", "test", "test"])
    with pytest.raises(ZooError, match=r"run 'x' lies in the splits \['test', 'train'\]"):
        complete_rows(torn, "table")
    with pytest.raises(ZooError, match=r"splits \['dev'\] are none of"):
        complete_rows(rows(id=["a"], split=["dev"]), "table")
    with pytest.raises(ZooError, match="the id 'a' stands 2 times"):
        complete_rows(rows(id=["a", "a"]), "table")


def test_a_run_keeps_its_split_whatever_runs_are_beside_it():
    few, many = (complete_rows(rows(id=[f"r{i}" for i in range(count)]), "table") for count in (40, 400))
    assert few["split"].tolist() == many["split"].tolist()[:40]
    shares = many["split"].value_counts(normalize=True)
    assert 0.6 < shares["train"] < 0.8 and shares["test"] > 0.08 and shares["validation"] > 0.08


def test_pieces_are_bounded_and_lose_no_row(monkeypatch):
    monkeypatch.setattr(importing, "PIECE_BYTES", 100)
    monkeypatch.setattr(importing, "PIECE_ROWS", 4)
    table = rows(id=[str(i) for i in range(20)])
    table["bytes"] = [10, 95, 500, 1, 1, 1, 1, 1, *[30] * 12]
    pieces = list(cut_rows(table))
    assert pd.concat(pieces)["id"].tolist() == table["id"].tolist()
    assert all(len(piece) <= 4 and (len(piece) == 1 or piece["bytes"].sum() <= 100) for piece in pieces)
    assert [len(piece) for piece in pieces][:4] == [1, 1, 1, 4]


def test_no_more_than_a_piece_is_held(tmp_path, monkeypatch, small_pieces):
    """Every part that is written is as small as a piece, however long the zoo is."""
    write_small_cnn_zoo(tmp_path / "zoo", runs=20)
    held = []
    append = importing.append_parts
    monkeypatch.setattr(
        importing, "append_parts", lambda *args: held.append(sum(len(p.rows) for p in args[2])) or append(*args)
    )
    import_zoo(tmp_path / "zoo", tmp_path / "out")
    assert held == [5] * 12
