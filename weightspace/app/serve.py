"""The explorer as a server on this machine, from the first answer to Ctrl-C."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

from uvicorn import Config, Server

from weightspace.app.explorer import Explorer
from weightspace.app.server import Service
from weightspace.errors import ExplorerError, WeightspaceError

ADDRESS, PATIENCE = "127.0.0.1", 2
"""Where the explorer listens, and seconds that open answers are waited for at the end."""


@contextmanager
def listening(port: int = 0) -> Iterator[tuple[socket.socket, str]]:
    """Give a socket that listens on this machine alone, and the address of its page.

    Args:
        port: 0 for a free one.

    Raises:
        ExplorerError: The port is taken, or may not be used.
    """
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((ADDRESS, port))
        except OSError as error:
            raise ExplorerError(f"port {port}: {error.strerror}. Leave --port out for a free one.") from None
        found.listen()
        yield found, f"http://{ADDRESS}:{found.getsockname()[1]}/"


class _Quiet(Server):
    """A server that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(explorer: Explorer, *, port: int = 0, ready: Callable[[str], None]) -> None:
    """Answer until the process is asked to end (Ctrl-C, SIGTERM).

    Args:
        explorer: What answers.
        port: 0 for a free one.
        ready: Called with the address once it answers.

    Raises:
        ExplorerError: The port is taken.
    """
    service = Service(explorer)
    config = Config(service.app(), http="h11", ws="none", lifespan="off", log_level="error", server_header=False)
    config.timeout_graceful_shutdown = PATIENCE
    server = _Quiet(config)

    def stop(*_: object) -> None:
        server.should_exit = True

    with listening(port) as (found, address):
        threading.Thread(target=_warm, args=(service,), daemon=True).start()
        kept = {kind: signal.signal(kind, stop) for kind in (signal.SIGINT, signal.SIGTERM)}
        try:
            ready(address)
            server.run(sockets=[found])
        finally:
            for kind, before in kept.items():
                signal.signal(kind, before)
            service.worker.close()


def _warm(service: Service) -> None:
    """Load what the first clicks need, while the page is drawn; what fails says so when it is asked for."""
    with suppress(WeightspaceError):
        service.live().about()
    import_module("weightspace.inspect.examine")
