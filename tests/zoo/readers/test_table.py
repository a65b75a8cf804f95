"""Folders with a CSV, and exports that are read back exactly."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from tests.zoo.readers.laws import check_everything_is_understood, check_relabelling_keeps, check_weights
from tests.zoo.readers.miniature import normal, siren_state, write_small_cnn_zoo
from tests.zoo.readers.test_files import run_siren
from tests.zoo.readers.wild_park_files import write_wild_park
from weightspace.errors import ZooError
from weightspace.zoo.append import Part, append_parts, describe_shapes
from weightspace.zoo.export import export_population
from weightspace.zoo.readers import import_zoo, read_problems, recognise

SEQ = ("seq.0", "seq.1", "seq.2")


def write_folder(folder, header, lines, *, name="properties.csv"):
    """Five checkpoints of several formats and a CSV of these lines."""
    (folder / "deep").mkdir(parents=True)
    states = [siren_state(10 * i) for i in range(5)]
    save_file(states[0], folder / "0.safetensors")
    torch.save(states[1], folder / "1.pt")
    torch.save({"state_dict": states[2], "epoch": 3}, folder / "deep" / "2.pth")
    np.savez(folder / "3.npz", **{key: tensor.numpy() for key, tensor in states[3].items()})
    save_file(states[4], folder / "4.safetensors")
    (folder / name).write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return dict(zip(("0.safetensors", "1.pt", "deep/2.pth", "3.npz", "4.safetensors"), states, strict=True))


FILES = ("0.safetensors", "1.pt", "deep/2.pth", "3.npz", "4.safetensors")


def test_any_format_and_any_column_is_read(tmp_path):
    lines = [f"{file},0.{i + 1},{'' if i == 2 else 0.01},r{i},ünï {i},{i},True" for i, file in enumerate(FILES)]
    published = write_folder(tmp_path / "zoo", "filename,test_acc,lr,run_id,note,layers,good", lines)
    assert recognise(tmp_path / "zoo") == "table"

    population = import_zoo(tmp_path / "zoo", tmp_path / "out")

    check_weights(population, published)
    check_everything_is_understood(population)
    check_relabelling_keeps(population, lambda tensors: run_siren(tensors, SEQ))
    frame = population.frame()
    assert frame["test_accuracy"].to_numpy() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert frame["learning_rate"].isna().tolist() == [False, False, True, False, False]
    assert frame["run_name"].tolist() == [f"r{i}" for i in range(5)] and frame["note"].iloc[3] == "ünï 3"
    assert (
        frame["layers"].tolist() == [0, 1, 2, 3, 4] and frame["good"].all() and frame["run"].tolist() == [0, 1, 2, 3, 4]
    )


def test_rows_without_a_readable_file_are_noted(tmp_path):
    (tmp_path / "secret.pt").write_bytes(b"")
    lines = ["0.safetensors,1", "gone.pt,2", "../secret.pt,3", "1.pt,4", ",5"]
    write_folder(tmp_path / "zoo", "file,x", lines)
    (tmp_path / "zoo" / "1.pt").write_bytes(b"nothing")

    assert import_zoo(tmp_path / "zoo", tmp_path / "out").frame()["id"].tolist() == ["0.safetensors"]
    assert sorted(read_problems(tmp_path / "out")["file"]) == ["", "../secret.pt", "1.pt", "gone.pt"]


def test_checkpoints_of_one_training_must_say_so(tmp_path):
    lines = [f"{file},{i}" for i, file in enumerate(FILES)]
    write_folder(tmp_path / "zoo", "file,epoch", lines)
    with pytest.raises(ZooError, match="several values of 'epoch' and no column `run`"):
        import_zoo(tmp_path / "zoo", tmp_path / "out")
    (tmp_path / "zoo" / "properties.csv").write_text("\n".join(["file,epoch,run", *(f"{x},7" for x in lines)]))
    assert set(import_zoo(tmp_path / "zoo", tmp_path / "out").frame()["run"]) == {7}


@pytest.mark.parametrize(
    ("header", "text"), [("file,acc,lr,learning_rate", "several columns mean"), ("name,a,b,c", "no CSV with a column")]
)
def test_a_csv_that_does_not_tell_is_named(tmp_path, header, text):
    write_folder(tmp_path / "zoo", header, ["0.safetensors,1,2,3"])
    with pytest.raises(ZooError, match=text):
        import_zoo(tmp_path / "zoo", tmp_path / "out", layout="table")


def test_a_csv_that_is_no_utf8_is_not_taken_for_one(tmp_path):
    write_folder(tmp_path / "zoo", "file,x", ["0.safetensors,1"])
    (tmp_path / "zoo" / "properties.csv").write_bytes(b"file,x\n0.safetensors,\xff\xfe\n")
    with pytest.raises(ZooError, match="none of the layouts"):
        recognise(tmp_path / "zoo")


NASTY = ["", "a,b", 'say "x"', "line\nbreak", "None", "nan", "1.0", "~", " padded ", "ünï\t"]


def nasty_population(folder):
    """Two architectures, several dtypes, properties that a CSV is bad at."""
    count = len(NASTY)
    parts = []
    for start, width in ((0, 4), (count, 5)):
        tensors = {
            "fc.weight": normal(start, count, width, 3).half(),
            "fc.bias": normal(start + 1, count, width).double(),
            "norm.num_batches_tracked": torch.arange(count) * 2**40,
            "mask": normal(start + 2, count, width) > 0,
            "deep.bfloat": normal(start + 3, count, 2, 2, 2).bfloat16(),
        }
        frame = pd.DataFrame({"id": [f"p/{start + i}" for i in range(count)], "run": range(start, start + count)})
        frame = frame.assign(
            split="train",
            text=NASTY,
            missing=[None if i % 3 == 0 else f"{i:03d}" for i in range(count)],
            accuracy=np.float32(1) / np.arange(3, 3 + count, dtype=np.float32),
            tiny=np.float32(1e-40),
            holes=[np.nan if i % 2 else i / 7 for i in range(count)],
            infinite=np.inf,
            seed=[2**62 + 1 + i for i in range(count)],
            good=[i % 2 == 0 for i in range(count)],
            perhaps=pd.array([None if i % 4 == 0 else i % 2 == 0 for i in range(count)], dtype="boolean"),
        )
        parts.append(Part(frame, tensors, {"shapes": describe_shapes(tensors), "note": "kept"}))
    return append_parts(folder, "0.safetensors", parts)


def assert_equal_populations(found, wanted, where=()):
    """Equal tensors bit for bit, equal properties and architectures, by id."""
    old = wanted.frame(where=where).set_index("id").sort_index()
    new = found.frame().set_index("id").sort_index()
    places = ["shard", "group", "row"]
    pd.testing.assert_frame_equal(
        new[[c for c in old if c not in places]], old.drop(columns=places), check_categorical=False
    )
    assert new["sha256"].tolist() == old["sha256"].tolist()
    for kind in set(old["architecture"].astype(str)):
        assert found.architectures[kind] == wanted.architectures[kind]
    assert found.verify() == len(old)


def test_export_then_import_gives_equal_tensors_and_properties(tmp_path):
    population = nasty_population(tmp_path / "a")
    assert export_population(population, tmp_path / "files") == tmp_path / "files" / "properties.csv"
    assert recognise(tmp_path / "files") == "table"
    assert_equal_populations(import_zoo(tmp_path / "files", tmp_path / "b"), population)


def test_a_selection_is_exported_alone(tmp_path):
    population = nasty_population(tmp_path / "a")
    where = [("run", ">=", 8), ("good", "==", True)]
    export_population(population, tmp_path / "files", where=where)
    found = import_zoo(tmp_path / "files", tmp_path / "b")
    assert 0 < len(found) < len(population)
    assert_equal_populations(found, population, where)
    with pytest.raises(ZooError, match="none of 20 checkpoints meets"):
        export_population(population, tmp_path / "more", where=[("run", ">", 99)])


@pytest.mark.parametrize("write", [write_small_cnn_zoo, write_wild_park])
def test_an_imported_zoo_survives_a_round_trip_and_can_still_be_built(tmp_path, write):
    write(tmp_path / "zoo")
    population = import_zoo(tmp_path / "zoo", tmp_path / "a")
    export_population(population, tmp_path / "files")
    again = import_zoo(tmp_path / "files", tmp_path / "b")
    assert_equal_populations(again, population)
    kind = again.frame()["architecture"].iloc[0]
    assert str(again.module(kind)) == str(population.module(kind))


def test_an_export_is_not_mixed_with_other_files_and_a_stopped_one_is_done_again(tmp_path):
    population = nasty_population(tmp_path / "a")
    (tmp_path / "files" / "checkpoints").mkdir(parents=True)
    (tmp_path / "files" / "checkpoints" / "00.safetensors").write_bytes(b"half")
    export_population(population, tmp_path / "files")
    assert_equal_populations(import_zoo(tmp_path / "files", tmp_path / "b"), population)
    with pytest.raises(ZooError, match=r"holds properties\.csv already"):
        export_population(population, tmp_path / "files")


def test_an_export_whose_files_were_exchanged_is_noticed(tmp_path):
    export_population(nasty_population(tmp_path / "a"), tmp_path / "files")
    files = sorted((tmp_path / "files" / "checkpoints").iterdir())
    files[0].write_bytes(files[-1].read_bytes())
    import_zoo(tmp_path / "files", tmp_path / "b")
    assert "does not have the shapes" in read_problems(tmp_path / "b")["error"].iloc[0]


def test_a_wrong_type_in_an_edited_export_is_named(tmp_path):
    export_population(nasty_population(tmp_path / "a"), tmp_path / "files")
    table = pd.read_csv(tmp_path / "files" / "properties.csv", dtype=str, keep_default_na=False)
    table.loc[3, "accuracy"] = "high"
    table.to_csv(tmp_path / "files" / "properties.csv", index=False)
    with pytest.raises(ZooError, match="column 'accuracy' is noted as number"):
        import_zoo(tmp_path / "files", tmp_path / "b")
    (tmp_path / "files" / "types.json").write_text(json.dumps([]))
    with pytest.raises(ZooError, match=r"types\.json"):
        import_zoo(tmp_path / "files", tmp_path / "b")
