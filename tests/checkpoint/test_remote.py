"""The hub: a stand-in on the loopback serves it; the client runs in a process of its own."""

import json
import os
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save

from weightspace.checkpoint.remote import is_hub_id

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
COMMITS = {"main": "1" * 40, "v2": "2" * 40, "1" * 40: "1" * 40, "2" * 40: "2" * 40}


class StandIn(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0].strip("/")
        if path.startswith("api/models/"):
            repo, _, revision = path.removeprefix("api/models/").partition("/revision/")
            known = repo in FILES and (revision or "main") in COMMITS
            files = [{"rfilename": name} for name in FILES.get(repo, ())]
            body = (
                {"id": repo, "sha": COMMITS.get(revision or "main"), "siblings": files} if known else {"error": "none"}
            )
            return self.answer(
                200 if known else 404, json.dumps(body).encode(), "api", "RepoNotFound" if not known else None
            )
        repo, _, rest = path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        if name not in FILES.get(repo, {}):
            return self.answer(404, b"", name, "EntryNotFound")
        return self.answer(200, FILES[repo][name], name, None, COMMITS[revision])

    def answer(self, status, body, name, error, commit="1" * 40):
        asked = self.headers.get("Range") if self.server.ranges else None
        total = len(body)
        if asked and status == 200:
            first, last = asked.removeprefix("bytes=").split("-")
            body, status = body[int(first) : int(last) + 1], 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(body) - 1}/{total}")
        self.send_header("ETag", f'"{sha256(body).hexdigest()[:40]}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(body)))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.server.log.append((name, len(body), commit))
            self.wfile.write(body)


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.log, server.ranges = [], True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


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
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1] if hub else 9}",
        "HF_HOME": str(folder),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=folder)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_a_header_is_read_by_range_without_torch(hub, tmp_path):
    show = "(lambda h: [len(h.tensors), h.weights, h.metadata['config'], 'torch' in sys.modules])"
    found = run(hub, tmp_path, f"{show}(read_header('org/plain'))")
    assert found == [50, 50 * 64 * 64, '{"model_type": "tiny"}', False]
    assert sum(size for name, size, _ in hub.log if name == "model.safetensors") <= 2**17 < len(BIG)


def test_a_long_header_takes_a_second_range(hub, tmp_path, monkeypatch):
    long = save({f"{i:04}.{'x' * 200}": torch.ones(1) for i in range(1000)})
    monkeypatch.setitem(FILES, "org/long", {"model.safetensors": long})
    assert run(hub, tmp_path, "len(read_header('org/long').tensors)") == 1000
    assert len([name for name, _, _ in hub.log if name == "model.safetensors"]) == 2


def test_weights_come_with_their_shards_and_revision(hub, tmp_path):
    body = (
        "[sorted(load_checkpoint('org/parts/x', revision='v2').tensors), sorted(read_header('org/parts/x').tensors), "
        "float(load_checkpoint('org/plain').tensors['layer.7.weight'][0, 0]), load_checkpoint('org/plain').source]"
    )
    assert run(hub, tmp_path, body) == [["a", "b"], ["a", "b"], 7.0, "org/plain"]
    assert {commit[0] for name, _, commit in hub.log if name.startswith("x/m-1")} == {"1", "2"}


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
