"""One line of JSON for each request: what was asked of which route and how it ended.

Nothing of what was sent or answered is in it: no query, no id, no address but the route's own.
"""

import json
import logging
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

VERSION_HEADER = "ponder-version"
"""Of a reply: the model version that answered."""


class AccessLog:
    """ASGI middleware that logs each request when it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, told = time.perf_counter(), {"status": 500, "version": None}

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message.get("headers", ()))
                version = headers.get(VERSION_HEADER.encode())
                told["status"] = message["status"]
                told["version"] = None if version is None else version.decode("latin-1")
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            if logger.isEnabledFor(logging.INFO):
                took_ms = 1000 * (time.perf_counter() - started)
                logger.info(_line(scope, took_ms, **told))


def _line(scope: Scope, took_ms: float, **told: object) -> str:
    route = getattr(scope.get("route"), "path", None)
    fields = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "method": scope["method"],
        "route": route,
        "ms": round(took_ms, 3),
        "key": scope.get("api_key"),
        **told,
    }
    return json.dumps(fields)
