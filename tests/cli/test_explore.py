"""`weightspace explore` as users run it: an address, an answer, an end."""

import json
import signal
import socket
import subprocess
import urllib.request

import pytest

from tests.latents.tables import clusters
from weightspace.latents.map import fit_map

pytest.importorskip("uvicorn", reason="the explorer is not installed (extra app)")


@pytest.fixture
def table(tmp_path):
    fit_map(clusters(), method="pca").to_parquet(tmp_path / "map.parquet")
    return tmp_path / "map.parquet"


def run(command, *arguments):
    return subprocess.run([command, "explore", *map(str, arguments)], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_answers_and_ends_well(command, table, ending):
    with subprocess.Popen([command, "explore", str(table), "--json"], stdout=-1, stderr=-1, text=True) as running:
        address = json.loads(running.stdout.readline())["url"]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address + "api/about", timeout=60) as answer:
            assert json.load(answer)["rows"] == 60
        running.send_signal(ending)
        assert running.wait(timeout=60) == 0
        assert running.stderr.read() == ""


def test_it_listens_on_this_machine_alone(command, table):
    with subprocess.Popen([command, "explore", str(table), "--json"], stdout=-1, text=True) as running:
        port = int(json.loads(running.stdout.readline())["url"].rsplit(":", 1)[1].strip("/"))
        with open("/proc/net/tcp") as lines:
            listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
        assert [one for one in listening if one.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
        running.terminate()


def test_a_port_that_is_taken_is_named(command, table):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(command, table, "--port", port)
    assert done.returncode == 1 and f"port {port}: Address already in use. Leave --port out" in done.stderr


def test_what_cannot_be_explored_is_named(command, tmp_path):
    done = run(command, tmp_path / "nothing.parquet")
    assert done.returncode == 1 and "cannot be read as Parquet" in done.stderr and "Traceback" not in done.stderr
    assert run(command, tmp_path / "nothing.parquet", "--port", 99999).returncode == 2
