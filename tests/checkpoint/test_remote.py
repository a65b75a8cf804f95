"""The hub: a stand-in on the loopback serves it; the client runs in a process of its own."""

import errno
import json

import pytest
import torch
from safetensors.torch import save

from tests.hub_stand_in import commit_of, run_client, serve_hub
from weightspace.checkpoint import remote
from weightspace.checkpoint.remote import is_hub_id
from weightspace.errors import RemoteError

BIG = save({f"layer.{i}.weight": torch.full((64, 64), float(i)) for i in range(50)})
INDEX = {"weight_map": {"a": "m-1.safetensors", "b": "sub-2.safetensors"}}
FILES = {
    "org/plain": {"model.safetensors": BIG, "config.json": b'{"model_type": "tiny"}', "README.md": b"#"},
    "org/parts": {
        "x/model.safetensors.index.json": json.dumps(INDEX).encode(),
        "x/m-1.safetensors": save({"a": torch.ones(2)}),
        "x/sub-2.safetensors": save({"b": torch.zeros(3)}),
    },
    "org/lies": {"model.safetensors": (2**60).to_bytes(8, "little") + bytes(100)},
    "org/escapes": {"model.safetensors.index.json": b'{"weight_map": {"a": "../m.safetensors"}}'},
    "org/none": {"README.md": b"#"},
}


@pytest.fixture
def hub():
    with serve_hub({f"models/{name}": {"main": files, "v2": files} for name, files in FILES.items()}) as server:
        yield server


def run(hub, folder, body):
    """The JSON that a program prints whose hub is the stand-in."""
    program = (
        "import json, sys\n"
        "from weightspace.checkpoint.load import load_checkpoint, read_header\n"
        "from weightspace.errors import WeightspaceError\n"
        "def error(act, *args, **more):\n"
        "    try: act(*args, **more)\n"
        "    except WeightspaceError as found: return [type(found).__name__, str(found)]\n"
        f"print(json.dumps({body}))"
    )
    return run_client(hub, folder, program)


def test_a_header_is_read_by_range_without_torch(hub, tmp_path):
    show = "(lambda h: [len(h.tensors), h.weights, h.metadata['config'], 'torch' in sys.modules])"
    found = run(hub, tmp_path, f"{show}(read_header('org/plain'))")
    assert found == [50, 50 * 64 * 64, '{"model_type": "tiny"}', False]
    assert sum(size for name, size, _ in hub.log if name == "model.safetensors") <= 2**17 < len(BIG)


def test_a_long_header_takes_a_second_range(hub, tmp_path):
    long = save({f"{i:04}.{'x' * 200}": torch.ones(1) for i in range(1000)})
    hub.repositories["models/org/long"] = {"main": {"model.safetensors": long}}
    assert run(hub, tmp_path, "len(read_header('org/long').tensors)") == 1000
    assert len([name for name, _, _ in hub.log if name == "model.safetensors"]) == 2


def test_weights_come_with_their_shards_and_revision(hub, tmp_path):
    body = (
        "[sorted(load_checkpoint('org/parts/x', revision='v2').tensors), sorted(read_header('org/parts/x').tensors), "
        "float(load_checkpoint('org/plain').tensors['layer.7.weight'][0, 0]), load_checkpoint('org/plain').source]"
    )
    assert run(hub, tmp_path, body) == [["a", "b"], ["a", "b"], 7.0, "org/plain"]
    assert {commit for name, _, commit in hub.log if name.startswith("x/m-1")} == {commit_of("main"), commit_of("v2")}


def test_what_was_fetched_is_read_without_the_hub(hub, tmp_path):
    run(hub, tmp_path, "len(load_checkpoint('org/plain').tensors)")
    assert run(None, tmp_path, "len(load_checkpoint('org/plain').tensors)") == 50


def test_failures_are_named(hub, tmp_path):
    bodies = [
        "error(load_checkpoint, 'org/missing')",
        "error(read_header, 'org/plain', revision='v9')",
        "error(load_checkpoint, 'org/none')",
        "error(read_header, 'org/lies')",
        "error(load_checkpoint, 'org/escapes')",
        "error(read_header, 'org/escapes')",
    ]
    missing, revision, none, lies, *escapes = run(hub, tmp_path, f"[{', '.join(bodies)}]")
    assert missing[0] == "RemoteError" and "org/missing: no such path here, and the hub does not give it" in missing[1]
    assert revision[0] == "RemoteError" and "at revision 'v9'" in revision[1]
    assert none[0] == "RemoteError" and "no checkpoint in this folder" in none[1]
    assert (
        lies[0] == "CheckpointError" and "org/lies/model.safetensors: the header claims 1152921504606846976" in lies[1]
    )
    assert all(found[0] == "UnsafeCheckpointError" and "outside its folder" in found[1] for found in escapes)


def test_a_hub_that_ignores_ranges_is_not_listened_to(hub, tmp_path):
    hub.ranges = False
    kind, text = run(hub, tmp_path, "error(read_header, 'org/plain')")
    assert kind == "RemoteError" and "ignores byte ranges" in text


def test_a_checkpoint_larger_than_the_disk_of_the_cache_is_named(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    monkeypatch.setattr(remote, "_repository", lambda *_: remote.Repository("org/big", "0" * 40, (), "m.safetensors"))
    with pytest.raises(RemoteError, match=r"org/big/m.safetensors .*does not fit on the disk.*No space left.*HF_HOME"):
        remote.download("org/big", None)


def test_no_network_is_named(tmp_path):
    kind, text = run(None, tmp_path, "error(load_checkpoint, 'org/name')")
    assert kind == "RemoteError" and "Check the path or the name, the network" in text


@pytest.mark.parametrize(
    "text, so",
    [
        ("org/name", True),
        ("org/name/sub/x", True),
        ("name", False),
        ("./a/b", False),
        ("a/../b", False),
        ("/a/b", False),
        ("a//b", False),
    ],
)
def test_what_could_be_a_hub_id(text, so):
    assert is_hub_id(text) is so
