"""`weightspace embed`: the table, its summary, resuming, and what it does with bad inputs and outputs."""

import hashlib
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from weightspace.cli import run
from weightspace.latents.table import LatentTable


@pytest.fixture
def output(tmp_path):
    return tmp_path / "latents.parquet"


def _embed(*arguments):
    return run(["embed", *map(str, arguments)])


def _relabelled(path, order):
    """The same function with its five hidden units in another order."""
    tensors = load_file(path)
    for name in ("0.weight", "0.bias"):
        tensors[name] = tensors[name][order].contiguous()
    tensors["2.weight"] = tensors["2.weight"][:, order].contiguous()
    return tensors


def test_a_row_a_checkpoint(runs, output, capsys):
    assert _embed(runs, "-o", output) == 0
    rows = pq.read_table(output).to_pylist()
    files = sorted(runs.iterdir())
    assert [row["path"] for row in rows] == list(map(str, files))
    assert [row["sha256"] for row in rows] == [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]
    assert [(row["id"], row["weights"], row["understood"], row["free_units"], row["error"]) for row in rows] == [
        (f"net{i}", 32, 1.0, 5, "") for i in range(3)
    ]
    kind = pq.read_table(output).schema.field("vector").type
    assert str(kind.value_type) == "float" and kind.list_size == 256
    said, errors = capsys.readouterr()
    assert errors == "" and "3 (0 failed)" in said and "100.0% of a checkpoint's weights" in said


def test_a_relabelled_network_is_its_own_nearest_neighbour(runs, output, capsys):
    save_file(_relabelled(runs / "net0.safetensors", torch.tensor([4, 2, 0, 1, 3])), runs / "twin.safetensors")
    assert _embed(runs, "-o", output, "--neighbours", 1, "--json") == 0
    rows = {row["id"]: row["neighbours"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["net0"][0]["id"] == "twin" and rows["twin"][0]["id"] == "net0"
    assert rows["net0"][0]["distance"] < 1e-3 * rows["net1"][0]["distance"]


def test_the_neighbours_are_printed(runs, output, capsys):
    assert _embed(runs, "-o", output, "--neighbours", 2) == 0
    table = capsys.readouterr().out.split("neighbours\n")[1].splitlines()
    vectors = LatentTable.read_parquet(output).vectors.astype(np.float64)
    distances = np.linalg.norm(vectors[0] - vectors[1:], axis=1)
    first = table[1].split()
    assert first[0] == "net0" and first[1::2] == [f"net{i + 1}" for i in np.argsort(distances)]
    assert first[2::2] == [f"{d:.4g}" for d in np.sort(distances)]


def test_more_neighbours_than_checkpoints_are_all_there_are(runs, output, capsys):
    assert _embed(runs, "-o", output, "--neighbours", 9, "--json") == 0
    assert [len(row["neighbours"]) for row in json.loads(capsys.readouterr().out)["rows"]] == [2, 2, 2]


def test_one_checkpoint_alone_has_no_neighbours(runs, output, capsys):
    assert _embed(runs / "net0.safetensors", "-o", output, "--neighbours", 1) == 0
    assert capsys.readouterr().err == "weightspace: no neighbours: fewer than two checkpoints have a latent.\n"


def test_a_bad_input_has_a_row_and_the_others_are_done(runs, truncated, output, capsys):
    assert _embed(truncated, runs, "missing.safetensors", "-o", output) == 1
    rows = pq.read_table(output).to_pylist()
    assert [bool(row["error"]) for row in rows] == [True, False, False, False, True]
    assert rows[0]["vector"] is None and str(truncated) in rows[0]["error"]
    said, errors = capsys.readouterr()
    assert "5 (2 failed)" in said
    assert [line.split(": ")[1] for line in errors.splitlines()] == [str(truncated), "missing.safetensors"]


def test_weights_that_are_not_finite_are_told_and_flagged(runs, output, capsys):
    assert _embed(runs, "-o", output) == 0
    assert "not finite" not in capsys.readouterr().out
    sick = load_file(runs / "net1.safetensors")
    sick["0.weight"][0, :2] = torch.nan
    save_file(sick, runs / "net1.safetensors")
    assert _embed(runs, "-o", output, "--force") == 0
    said = capsys.readouterr().out
    assert "1 hold NaN or infinite weights, which count as zero in their latents" in said
    assert next(line for line in said.splitlines() if "net1" in line).split()[-1] == "2"
    table = LatentTable.read_parquet(output)
    assert table["nonfinite"].tolist() == [0, 2, 0] and np.isfinite(table.vectors).all()


def test_a_folder_without_checkpoints_is_an_input_that_failed(tmp_path, output, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert _embed(empty, "-o", output) == 1
    assert f"{empty}: no checkpoint in this folder" in capsys.readouterr().err
    assert pq.read_table(output).num_rows == 1


def test_an_output_that_exists_is_kept(runs, output, capsys):
    output.write_bytes(b"precious")
    assert _embed(runs, "-o", output) == 2
    assert capsys.readouterr().err.startswith(f"weightspace: {output} exists: pass --force to overwrite it.")
    assert output.read_bytes() == b"precious"
    assert _embed(runs, "-o", output, "--force") == 0
    assert pq.read_table(output).num_rows == 3


@pytest.mark.parametrize("place", ["nowhere/latents.parquet", "folder", "/proc/latents.parquet"])
def test_an_output_that_cannot_be_written_stops_before_any_work(runs, tmp_path, monkeypatch, capsys, place):
    def never(*_, **__):
        raise AssertionError("began to work")

    monkeypatch.setattr("weightspace.encode.encoder.Encoder.from_pretrained", never)
    (tmp_path / "folder").mkdir()
    assert _embed(runs, "-o", tmp_path / place) == 2
    said, errors = capsys.readouterr()
    assert said == "" and errors.startswith(f"weightspace: {tmp_path / place} ") and errors.count("\n") == 1


def test_resuming_keeps_rows_and_adds_what_is_new(runs, output, tmp_path, capsys):
    assert _embed(runs, "-o", output) == 0
    before = pq.read_table(output)
    aside = tmp_path / "aside"
    aside.mkdir()
    (runs / "net0.safetensors").rename(aside / "gone.safetensors")
    shutil.copy(aside / "gone.safetensors", runs / "net3.safetensors")
    assert _embed(runs, "-o", output, "--resume") == 0
    rows = {row["id"]: row for row in pq.read_table(output).to_pylist()}
    assert list(rows) == ["net0", "net1", "net2", "net3"]
    for row in before.to_pylist():
        assert rows[row["id"]] == row
    assert rows["net3"]["vector"] == rows["net0"]["vector"]


def test_resuming_does_not_encode_again(runs, output, monkeypatch, capsys):
    assert _embed(runs, "-o", output) == 0
    before = pq.read_table(output)

    def never(*_):
        raise AssertionError("encoded again")

    monkeypatch.setattr("weightspace.encode.encoder.Encoder.encode_stack", never)
    assert _embed(runs, "-o", output, "--resume") == 0
    assert pq.read_table(output).equals(before)


def test_an_input_that_failed_is_tried_again_when_resuming(runs, output, capsys):
    whole = (runs / "net1.safetensors").read_bytes()
    (runs / "net1.safetensors").write_bytes(whole[:-8])
    assert _embed(runs, "-o", output) == 1
    (runs / "net1.safetensors").write_bytes(whole)
    assert _embed(runs, "-o", output, "--resume") == 0
    assert [row["error"] for row in pq.read_table(output).to_pylist()] == ["", "", ""]


def test_what_was_done_before_ctrl_c_is_kept(runs, output, monkeypatch, capsys):
    save_file({"0.weight": torch.ones(2, 2)}, runs / "other.safetensors")
    from weightspace.encode.encoder import Encoder

    encode, calls = Encoder.encode_stack, []

    def interrupted(self, *checkpoints):
        calls.append([c.source for c in checkpoints])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(self, *checkpoints)

    monkeypatch.setattr(Encoder, "encode_stack", interrupted)
    assert _embed(runs, "-o", output) == 130
    assert not output.exists()
    assert _embed(runs, "-o", output, "--resume") == 0
    assert len(calls) == 3 and calls[1] == calls[2] and calls[0] != calls[1]
    assert [path.name for path in output.parent.iterdir() if path.name != "runs"] == [output.name]


def test_latents_of_another_encoder_are_not_mixed_in(runs, output, capsys):
    assert _embed(runs, "-o", output) == 0
    table = pq.read_table(output)
    other = {**table.schema.metadata, b"weightspace.encoder": b"another-1"}
    pq.write_table(table.replace_schema_metadata(other), output)
    assert _embed(runs, "-o", output, "--resume") == 2
    assert "another-1" in capsys.readouterr().err
    assert _embed(runs, "-o", output, "--resume", "--force") == 2


def test_a_table_that_is_none_is_not_resumed(runs, output, capsys):
    output.write_bytes(b"no table")
    assert _embed(runs, "-o", output, "--resume") == 1
    errors = capsys.readouterr().err
    assert str(output) in errors and errors.count("\n") == 1
    assert output.read_bytes() == b"no table"


def test_a_long_table_is_cut_on_screen_alone(runs, output, monkeypatch, capsys):
    monkeypatch.setattr("weightspace.cli.embed.SHOWN", 2)
    assert _embed(runs, "-o", output) == 0
    said = capsys.readouterr().out
    assert "coverage (the first 2 of 3; the file has all)" in said and "net1" in said and "net2" not in said
