"""Small networks on disk, and the command as users run it."""

import os
import pty
import subprocess
import sys
import termios
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

COMMAND = str(Path(sys.executable).with_name("weightspace"))


def perceptron(seed, sizes=(3, 5, 2)):
    g = torch.Generator().manual_seed(seed)
    tensors = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        tensors[f"{2 * i}.weight"] = torch.randn(fan_out, fan_in, generator=g)
        tensors[f"{2 * i}.bias"] = torch.randn(fan_out, generator=g)
    return tensors


@pytest.fixture(scope="session")
def command():
    """Path of the installed command."""
    return COMMAND


@pytest.fixture
def runs(tmp_path):
    """A folder with three perceptrons, 3 -> 5 -> 2, 32 weights each."""
    folder = tmp_path / "runs"
    folder.mkdir()
    for seed in range(3):
        save_file(perceptron(seed), folder / f"net{seed}.safetensors")
    return folder


@pytest.fixture
def truncated(tmp_path):
    """A file cut off in the middle of its weights."""
    whole = tmp_path / "whole.safetensors"
    save_file(perceptron(9), whole)
    path = tmp_path / "truncated.safetensors"
    path.write_bytes(whole.read_bytes()[:-40])
    whole.unlink()
    return path


@pytest.fixture
def shell():
    """Run the installed command in a process of its own."""

    def call(*arguments, text=None, **variables):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
        words = [COMMAND, *map(str, arguments)]
        return subprocess.run(words, input=text, capture_output=True, text=True, env=environment)

    return call


@pytest.fixture
def on_a_terminal():
    """What the command writes to a terminal of so many columns on one of its streams."""
    return _on_a_terminal


def _on_a_terminal(words, *, columns, stream):
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, columns))
    environment = os.environ | {"TERM": "xterm", "OMP_NUM_THREADS": "1"}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writer}
    running = subprocess.Popen(list(map(str, words)), env=environment, **streams)
    os.close(writer)
    said = b""
    while piece := _read(reader):
        said += piece
    os.close(reader)
    assert running.wait() == 0
    return said.decode()


def _read(reader):
    try:
        return os.read(reader, 4096)
    except OSError:  # the other end of a terminal was closed
        return b""
