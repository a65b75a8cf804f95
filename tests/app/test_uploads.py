"""Uploads land where they belong; what is hostile is refused, and the explorer stays up."""

import http.client
import io
import json
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save
from torch import nn

from weightspace.app.uploads import Worker, checked_name
from weightspace.errors import ExplorerError
from weightspace.execute.module import from_module
from weightspace.graph.build import build_graph
from weightspace.graph.symmetry.relabel import relabel
from weightspace.zoo.store import find_population

NETWORK = "mlp_digits/000003/2"


class Evil:
    """A pickle of it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def saved(checkpoint, folder):
    checkpoint.save(folder / "x.safetensors", overwrite=True)
    return (folder / "x.safetensors").read_bytes()


def torch_file(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    return file.getvalue()


def test_a_copy_of_a_row_lands_on_it_however_its_units_are_labelled(client, explorer, tmp_path):
    checkpoint = find_population("mlp_digits").checkpoint(NETWORK)
    graph = build_graph(checkpoint)
    hidden = [axis for axis in graph.axes.values() if axis.role == "hidden"]
    orders = {axis.name: torch.arange(axis.size).flip(0) for axis in hidden}
    row = explorer.table["id"].tolist().index(NETWORK)
    for one in (checkpoint, relabel(checkpoint, graph, orders)):
        status, told = client.post("/api/uploads?name=copy.safetensors", saved(one, tmp_path))
        assert status == 200 and told["id"] == "copy.safetensors"
        assert told["place"] == pytest.approx(explorer.drawn.places[row].tolist(), abs=1e-3)
        assert told["distance"] < 1e-3 * explorer.usual["median"]
        near = client.get(f"/api/networks/{told['key']}")[1]["neighbours"]
        assert near[0]["id"] == NETWORK
        shown = client.get(f"/api/networks/{told['key']}/weights")[1]
        assert shown["behaviour"]["accuracy"] == pytest.approx(explorer.table["test_accuracy"][row], abs=1e-6)
        assert b"copy.safetensors" in client.ask("GET", f"/api/networks/{told['key']}/report")[2]
    other = find_population("mlp_digits").checkpoint("mlp_digits/000009/2")
    assert client.post("/api/uploads?name=o.safetensors", saved(other, tmp_path))[1]["distance"] < 1e-3
    turned = {name: t.flip(-1) for name, t in checkpoint.tensors.items()}
    assert client.post("/api/uploads?name=t.pt", torch_file(turned))[1]["distance"] > 0.1
    assert client.left() == []


def test_it_can_be_decoded_between_an_upload_and_a_row(client, tmp_path):
    checkpoint = find_population("mlp_digits").checkpoint(NETWORK)
    key = client.post("/api/uploads?name=mine.safetensors", saved(checkpoint, tmp_path))[1]["key"]
    status, told = client.post("/api/decode", {"base": key, "other": "0", "share": 0.5})
    assert status == 200 and told["like"] == NETWORK and told["behaviour"]["inputs"] == 359
    assert client.post("/api/decode", {"base": "0", "other": key, "share": 0.5})[0] == 200


def hostile(folder):
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}).encode()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(200_000_000))
    yield "code.pt", pickle.dumps(Evil(str(folder / "written"))), "could run code; nothing was run"
    yield "code2.bin", torch_file({"a": Evil(str(folder / "written"))}), "could run code; nothing was run"
    yield "script.sh", b"#!/bin/sh", "only .safetensors"
    yield "", b"x", "only .safetensors"
    yield "noise.pt", b"\xff" * 999, "cannot read it"
    yield "nothing.safetensors", b"", "0 bytes are too few"
    yield "lies.safetensors", len(header).to_bytes(8, "little") + header, "truncated"
    yield "huge.safetensors", (2**62).to_bytes(8, "little"), "the header claims"
    yield "bomb.pt", bomb.getvalue(), "zip bomb"
    yield "deep.pt", b"(" * 500_000 + b".", "deep.pt: "
    yield "empty.safetensors", save({}), "empty.safetensors"


def test_hostile_files_are_refused_by_a_sentence(client, tmp_path):
    before = client.get("/api/about")[1]["uploads"]
    for name, data, said in hostile(tmp_path):
        status, told = client.post(f"/api/uploads?name={name}", data)
        assert status == 400 and said in told["error"], (name, told)
        assert "Traceback" not in told["error"] and str(client.folder) not in told["error"]
    assert not (tmp_path / "written").exists() and client.left() == []
    assert client.get("/api/about")[1]["uploads"] == before


class Greedy(nn.Module):
    """Asks for a hundred gigabytes when it is run."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(64, 10)

    def forward(self, x):
        return self.line(x.flatten(1)) + torch.zeros(160_000, 160_000).sum()


def test_a_program_that_wants_too_much_memory_ends_alone(client, tmp_path):
    checkpoint = from_module(Greedy(), (torch.zeros(2, 1, 8, 8),))
    status, told = client.post("/api/uploads?name=greedy.safetensors", saved(checkpoint, tmp_path))
    if status == 200:  # where the encoder need not run it, its answers are what fails
        told = client.get(f"/api/networks/{told['key']}/weights")[1]["behaviour"]
    assert "greedy.safetensors" in told["error"] or "memory" in told["error"]
    plain = find_population("mlp_digits").checkpoint(NETWORK)
    assert client.post("/api/uploads?name=a.safetensors", saved(plain, tmp_path))[0] == 200
    assert client.left() == []


def test_reading_that_takes_too_long_is_left(tmp_path, explorer):
    find_population("mlp_digits").checkpoint(NETWORK).save(tmp_path / "a.safetensors")
    asked = {"path": str(tmp_path / "a.safetensors"), "name": "a.safetensors", "latents": explorer.table.encoder}
    asked |= {"encoder": None, "datasets": [], "data_dir": None}
    worker = Worker()
    try:
        with pytest.raises(ExplorerError, match=r"a.safetensors: reading it took longer than 0 seconds"):
            worker.look_at(asked, patience=0.0)
        assert "names no dataset" in worker.look_at(asked)["shown"]["why"]
        with pytest.raises(ExplorerError, match="holds latents of another, and there is only random-sweep"):
            worker.look_at(asked | {"latents": "another"})
    finally:
        worker.close()


def test_what_is_too_large_is_refused_before_it_is_read(client, explorer):
    most = explorer.settings.most_bytes
    assert client.post("/api/uploads?name=fits.safetensors", bytes(most))[0] == 400
    status, told = client.post("/api/uploads?name=big.safetensors", bytes(most + 1))
    assert status == 413 and told["error"].startswith("big.safetensors is larger than 1 MB")
    asking = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    pieces = (bytes(2**16) for _ in range(4 * most // 2**16))
    try:
        asking.request("POST", "/api/uploads?name=big.pt", body=pieces, encode_chunked=True)
        assert asking.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):  # refused while it was still being sent
        pass
    finally:
        asking.close()
    assert client.get("/api/about")[0] == 200 and client.left() == []


def test_an_upload_that_breaks_off_leaves_nothing(client):
    asking = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    asking.putrequest("POST", "/api/uploads?name=a.pt")
    asking.putheader("Content-Length", "1000")
    asking.endheaders(b"half")
    asking.close()
    assert client.get("/api/about")[0] == 200
    for _ in range(100):
        if not client.left():
            return
        client.get("/api/about")
    raise AssertionError(client.left())


@pytest.mark.parametrize("name", ["../../etc/a.pt", "C:\\temp\\a.pt", "/a.pt", "a.pt"])
def test_folders_in_a_name_mean_nothing(name):
    assert checked_name(name) == "a.pt"
    assert checked_name("\x1b[31m" + name[-4:]) == "?[31ma.pt"


def test_a_request_that_is_no_json_is_named(client):
    for body in (b"{{{", b"[" * 100_000, b'"x"', bytes(100_000)):
        status, told = client.post("/api/decode", body)
        assert status == 400 and "a blend" in told["error"]


def test_a_row_whose_weights_are_lost_says_so(client, explorer, monkeypatch):
    monkeypatch.setattr(explorer.sources, "load", lambda path: (_ for _ in ()).throw(ExplorerError("it is gone.")))
    status, told = client.get("/api/networks/11/weights")
    assert (status, told["error"]) == (400, "it is gone.")
    assert client.get("/api/networks/11")[0] == 200
