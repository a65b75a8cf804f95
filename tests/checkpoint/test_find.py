"""Finding: each checkpoint once, in order, whatever the folders look like."""

import io
import json

import pytest

from weightspace.checkpoint.find import find_checkpoints


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(folder):
    return [path.removeprefix(f"{folder}/") for path in find_checkpoints([folder])]


def test_folders_are_walked_and_sorted(tmp_path):
    touch(tmp_path, "b/2.pt", "b/1.safetensors", "a/x.h5", "c.onnx", "README.md", "b/notes.json", "b/model.json")
    assert found(tmp_path) == ["c.onnx", "a/x.h5", "b/1.safetensors", "b/2.pt", "b/model.json"]


def test_loops_of_links_end(tmp_path):
    touch(tmp_path, "a/x.pt")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert found(tmp_path) == ["a/x.pt"]


def test_a_sharded_set_counts_once(tmp_path):
    touch(tmp_path, "m-1.safetensors", "m-2.safetensors", "other.safetensors")
    index = {"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps(index))
    assert found(tmp_path) == ["m.safetensors.index.json", "other.safetensors"]


def test_the_same_weights_twice_count_once(tmp_path):
    touch(tmp_path, "model.safetensors", "pytorch_model.bin", "adapter_model.safetensors")
    assert found(tmp_path) == ["adapter_model.safetensors", "model.safetensors"]


def test_training_state_and_pieces_do_not_count(tmp_path):
    touch(
        tmp_path, "optimizer.pt", "training_args.bin", "rng_state_0.pth", "group1-shard1of2.bin", "model.json", "x.pt"
    )
    assert found(tmp_path) == ["model.json", "x.pt"]


def test_what_is_no_folder_is_passed_on_as_it_is(tmp_path):
    touch(tmp_path, "notes.txt")
    (tmp_path / "empty").mkdir()
    paths = [str(tmp_path / "notes.txt"), "org/name", str(tmp_path / "missing.pt"), str(tmp_path / "empty")]
    assert find_checkpoints([*paths, paths[0]]) == paths


@pytest.mark.parametrize("text", ["a.pt\norg/name\n", "\n  a.pt  \norg/name"])
def test_a_dash_reads_lines(text, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert find_checkpoints(["first.pt", "-"]) == ["first.pt", "a.pt", "org/name"]
