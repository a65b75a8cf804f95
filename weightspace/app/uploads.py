"""Uploads: bytes from a browser, looked at by a worker, and gone."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, final

from weightspace.errors import ExplorerError

SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt")
"""Of safetensors, and of pickles that are loaded with nothing but weights in them."""
PATIENCE, ANSWER = 90.0, 64 * 2**20
"""Seconds that reading a file may take; bytes of an answer, at most."""


def checked_name(name: str) -> str:
    """Return the name of an uploaded file without folders, as it can be shown.

    Raises:
        ExplorerError: It is of no kind that is taken.
    """
    plain = name.replace("\\", "/").rpartition("/")[2][-120:]
    plain = "".join(c if c.isprintable() else "?" for c in plain)
    if not plain.lower().endswith(SUFFIXES):
        raise ExplorerError(f"{plain or 'the file'}: only {', '.join(SUFFIXES)} are taken.")
    return plain


@contextmanager
def held_file(name: str) -> Iterator[Path]:
    """Give a path for an upload's bytes in a folder of its own; nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="weightspace-") as folder:
        yield Path(folder) / f"upload{Path(name).suffix.lower()}"


@final
class Worker:
    """The process that looks at uploads, one at a time; started when it is first needed, and anew when it died."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def look_at(self, asked: dict[str, Any], *, patience: float = PATIENCE) -> dict[str, Any]:
        """Return what `worker.look_at` tells.

        Raises:
            ExplorerError: The file was refused, or reading it took too much memory or time.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = _start()
            try:
                told = _ask(self._process, asked, patience)
            except BaseException:
                self._end()
                raise
        if "error" in told:
            raise ExplorerError(told["error"])
        return told

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None, "both are pipes"
                pipe.close()
            self._process = None


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "weightspace.app.worker"],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal is for the explorer, which ends it
    )


def _ask(process: subprocess.Popen[bytes], asked: dict[str, Any], patience: float) -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None, "both are pipes"
    name, until, said = asked["name"], monotonic() + patience, bytearray()
    try:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
    except BrokenPipeError:
        raise ExplorerError(f"{name}: the process that reads uploads has ended; try again.") from None
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        while not said.endswith(b"\n"):
            if not waiting.select(max(0.0, until - monotonic())):
                raise ExplorerError(f"{name}: reading it took longer than {patience:g} seconds, so it was left.")
            piece = os.read(process.stdout.fileno(), 2**20)
            said += piece
            if not piece or len(said) > ANSWER:
                raise ExplorerError(f"{name}: the process that read it ended (too much memory?), so it was left.")
    return json.loads(said)
