"""The explorer over HTTP: its page, the map's own page, and JSON."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from weightspace.app.explorer import Explorer
from weightspace.app.guard import FRAMED_POLICY, Guard
from weightspace.app.uploads import Worker, checked_name, held_file
from weightspace.errors import WeightspaceError
from weightspace.latents.map_page import page_file, write_page

if TYPE_CHECKING:
    from weightspace.app.behaviour import Questions
    from weightspace.app.live import LiveDecoder

MOST_ASKED = 64 * 1024
"""Bytes of a request that is no upload."""
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


@final
class Service:
    """The endpoints of one explorer.

    Args:
        explorer: It answers.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.worker = explorer, Worker()
        self.pages = files("weightspace.app") / "page"
        self.map_page = write_page(explorer.drawn, title=explorer.settings.table.stem)
        self._live: LiveDecoder | None = None
        self._live_lock = threading.Lock()

    def app(self) -> Guard:
        """Return the application behind its guard."""
        plain = [
            ("/", self.index, "GET"),
            ("/map", self.map, "GET"),
            ("/page/{name}", self.page, "GET"),
            ("/api/about", self.about, "GET"),
            ("/api/networks/{key}", self.network, "GET"),
            ("/api/networks/{key}/weights", self.weights, "GET"),
            ("/api/networks/{key}/examples", self.examples, "GET"),
            ("/api/networks/{key}/report", self.report, "GET"),
            ("/api/decoder", self.decoder, "GET"),
            ("/api/decode", self.decode, "POST"),
            ("/api/decoded", self.decoded, "POST"),
            ("/api/uploads", self.upload, "POST"),
        ]
        routes = [Route(path, answering(endpoint), methods=[method]) for path, endpoint, method in plain]
        return Guard(Starlette(routes=routes, exception_handlers={404: _missing, 405: _missing, 500: _failed}))

    def live(self) -> LiveDecoder:
        """Return the decoder of this table, loaded when it is first asked for."""
        from weightspace.app.live import LiveDecoder

        with self._live_lock:
            if self._live is None:
                self._live = LiveDecoder(self.explorer)
            return self._live

    # ---- pages
    async def index(self, request: Request) -> Response:
        """The explorer's own page."""
        return HTMLResponse((self.pages / "explorer.html").read_text("utf-8"))

    async def map(self, request: Request) -> Response:
        """The map's page as it is."""
        return HTMLResponse(self.map_page, headers={"content-security-policy": FRAMED_POLICY})

    async def page(self, request: Request) -> Response:
        """A program or a style of the page."""
        name = request.path_params["name"]
        if name == "theme.css":
            return Response(page_file(name), media_type=TYPES[".css"])
        known = {entry.name: entry for entry in self.pages.iterdir()}
        if name not in known:
            return await _missing(request, None)
        return Response(known[name].read_text("utf-8"), media_type=TYPES[Path(name).suffix])

    # ---- networks
    async def about(self, request: Request) -> Response:
        """What the page begins with."""
        return JSONResponse(self.explorer.about())

    async def network(self, request: Request) -> Response:
        """Properties and neighbours."""
        return JSONResponse(await run_in_threadpool(self.explorer.network, request.path_params["key"]))

    async def weights(self, request: Request) -> Response:
        """Filters, answers and a summary of the report."""
        return JSONResponse(await run_in_threadpool(self.explorer.weights, request.path_params["key"]))

    async def examples(self, request: Request) -> Response:
        """Pictures of the test inputs whose answers are shown."""
        key = request.path_params["key"]

        def asked() -> Questions:
            return self.explorer.questions(self.explorer.nearest_row(key))

        return JSONResponse((await run_in_threadpool(asked)).pictures())

    async def report(self, request: Request) -> Response:
        """The whole report."""
        page = await run_in_threadpool(self.explorer.report, request.path_params["key"])
        return HTMLResponse(page, headers={"content-security-policy": FRAMED_POLICY})

    # ---- decoding
    async def decoder(self, request: Request) -> Response:
        """The decoder and its sliders."""
        return JSONResponse(await run_in_threadpool(lambda: self.live().about()))

    async def decode(self, request: Request) -> Response:
        """A decoded network, as the page shows it."""
        asked = await _read_json(request)
        return JSONResponse(await run_in_threadpool(self._show, asked))

    async def decoded(self, request: Request) -> Response:
        """A decoded network as a file."""
        asked = await _read_json(request)
        data = await run_in_threadpool(self._save, asked)
        named = {"content-disposition": 'attachment; filename="decoded.safetensors"'}
        return Response(data, media_type="application/octet-stream", headers=named)

    def _show(self, asked: Any) -> dict[str, Any]:
        from weightspace.app.live import Blend

        return self.live().show(Blend.of(asked))

    def _save(self, asked: Any) -> bytes:
        from weightspace.app.live import Blend

        checkpoint = self.live().decode(Blend.of(asked)).checkpoint
        with tempfile.TemporaryDirectory(prefix="weightspace-") as folder:
            checkpoint.save(Path(folder) / "decoded.safetensors")
            return (Path(folder) / "decoded.safetensors").read_bytes()

    # ---- uploads
    async def upload(self, request: Request) -> Response:
        """Where a checkpoint lands that is the body of the request."""
        name, most = checked_name(request.query_params.get("name", "")), self.explorer.settings.most_bytes
        told = request.headers.get("content-length", "")
        size, large = 0, told.isdecimal() and int(told) > most
        with held_file(name) as path:
            with path.open("wb") as file:
                async for piece in request.stream():
                    size += len(piece)
                    large = large or size > most
                    if size > 2 * most:
                        break
                    if not large:  # what is too large is read on for a while, so that its sender hears why
                        file.write(piece)
            if large:
                return _too_large(name, most)
            return JSONResponse(await run_in_threadpool(self._look_at, path, name))

    def _look_at(self, path: Path, name: str) -> dict[str, Any]:
        settings = self.explorer.settings
        asked: dict[str, Any] = {"path": str(path), "name": name, "data_dir": settings.data_dir}
        asked |= {"latents": self.explorer.table.encoder, "encoder": settings.encoder}
        asked |= {"datasets": self.explorer.datasets()}
        return self.explorer.keep(name, self.worker.look_at(asked))


def answering(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint with errors that are raised on purpose as one sentence of JSON."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except WeightspaceError as error:
            return JSONResponse({"error": " ".join(str(error).split())}, 400)
        except ClientDisconnect:
            return Response(status_code=400)

    return answered


async def _read_json(request: Request) -> Any:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_ASKED:
            return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _too_large(name: str, most: int) -> Response:
    said = f"{name} is larger than {most / 2**20:,.0f} MB, the most that is taken (--upload-mb)."
    return JSONResponse({"error": said}, 413, headers={"connection": "close"})


async def _missing(request: Request, error: Any) -> Response:
    return JSONResponse({"error": f"there is no {request.method} {request.url.path[:80]} here."}, 404)


async def _failed(request: Request, error: Any) -> Response:
    said = f"the explorer could not answer ({type(error).__name__}); the terminal says more."
    return JSONResponse({"error": said}, 500)
