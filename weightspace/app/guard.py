"""What stands before the explorer: who may ask, and what its pages may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FRAMED_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
"""Of the explorer's own page, and of pages that hold all they need: a map and reports."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def host_name(authority: str) -> str | None:
    """Return the name in `host:port` or `[address]:port`; None where there is none.

    Example:
        >>> host_name("127.0.0.1:8000"), host_name("[::1]:8000"), host_name("evil.example")
        ('127.0.0.1', '::1', 'evil.example')
    """
    try:
        return urlsplit(f"//{authority}").hostname
    except ValueError:
        return None


@final
class Guard:
    """Lets only this machine's own pages through, and tells browsers what answers may do.

    A name that resolves to this machine (DNS rebinding) is refused by the header `Host`, a page of another origin by
    `Origin` and `Sec-Fetch-Site`.

    Args:
        app: What is guarded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            return
        why = refusal({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in known]
                if b"content-security-policy" not in known:
                    more.append((b"content-security-policy", PAGE_POLICY.encode()))
                message["headers"] = [*message["headers"], *more]
            await send(message)

        if why is None:
            await self.app(scope, receive, send_safely)
            return
        from starlette.responses import JSONResponse

        await JSONResponse({"error": why}, 403)(scope, receive, send_safely)


def refusal(headers: dict[str, str]) -> str | None:
    """Return why a request is not answered, by its headers in small letters; None where it is."""
    host = host_name(headers.get("host", ""))
    if host not in LOOPBACK:
        return f"the explorer answers to {', '.join(sorted(LOOPBACK))} alone, not to {host!r}."
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers["host"]:
        return "a page of another origin may not ask the explorer."
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return "another site may not ask the explorer."
    return None
