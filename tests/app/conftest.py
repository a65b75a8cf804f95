"""A small map with networks behind it, a decoder that has learned nothing, and the explorer of both as a server."""

import http.client
import json
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from torch import Generator

from tests.latents.tables import browser  # noqa: F401
from weightspace.decode.decoder import Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.encode.encoder import Encoder
from weightspace.latents.map import fit_map
from weightspace.zoo.embed import embed_population
from weightspace.zoo.store import find_population

pytest.importorskip("uvicorn", reason="the explorer is not installed (extra app)")

RUNS = 16


@pytest.fixture(scope="session")
def table():
    """The first and the last snapshot of 16 runs of `mlp_digits`, embedded."""
    population = find_population("mlp_digits")
    rows = population.frame()
    rows = rows[(rows["run"] < RUNS) & (rows["snapshot"] != 1)]
    return embed_population(Encoder.from_pretrained(), population, rows).table


@pytest.fixture(scope="session")
def drawn(table):
    return fit_map(table, method="pca")


@pytest.fixture(scope="session")
def decoder(table, tmp_path_factory):
    """Folder of a decoder of the table's latents, with drawn weights."""
    network = DecoderNetwork(DecoderConfig(latent=table.vectors.shape[1]), generator=Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("decoders") / "drawn"
    Decoder("drawn", network, table.encoder, ((1, 8, 8),), 10).save(folder)
    return folder


@pytest.fixture(scope="session")
def explorer(drawn, decoder, tmp_path_factory):
    from weightspace.app.explorer import Explorer, Settings

    file = tmp_path_factory.mktemp("maps") / "digits.parquet"
    return Explorer(drawn, Settings(file, decoder=str(decoder), most_bytes=2**20))


@dataclass
class Client:
    """Asks a server, header by header.

    Args:
        port: Of the server on this machine.
        folder: Where the server puts uploads while it reads them.
    """

    port: int
    folder: Path
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method, path, body=None, **headers):
        """Return status, headers and body."""
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            asking.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = asking.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            asking.close()

    def get(self, path, **headers):
        """Return status and JSON."""
        status, _, body = self.ask("GET", path, **headers)
        return status, json.loads(body)

    def post(self, path, told):
        """Return status and JSON."""
        status, _, body = self.ask("POST", path, told if isinstance(told, bytes) else json.dumps(told))
        return status, json.loads(body)

    def left(self):
        """Return what lies where uploads were."""
        return list(self.folder.glob("weightspace-*"))


@pytest.fixture(scope="session")
def client(explorer, tmp_path_factory):
    """The explorer as a server in a thread."""
    import tempfile

    from uvicorn import Config, Server

    from weightspace.app.server import Service

    folder, service = tmp_path_factory.mktemp("uploads"), Service(explorer)
    server = Server(Config(service.app(), http="h11", ws="none", lifespan="off", log_level="critical"))
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield Client(listening.getsockname()[1], folder)
        server.should_exit = True
        thread.join()
    service.worker.close()
    tempfile.tempdir = before
