"""Serve the app until the process is told to stop."""

import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from serving.access_log import logger as access_logger
from serving.draining import Drain

GRACE_S = 10
"""Seconds that requests under way have to end when the service is told to stop."""

LINGER_S = 1.0
"""Seconds after SIGTERM in which the service still listens, to say that it ends."""

YOUNG_OBJECTS = 10_000
"""New objects between two collections; Python's own 700 are the candidates of seven replies."""

NOT_STARTED = 3  # uvicorn's own exit code
EVERYWHERE = ("0.0.0.0", "::")


def run(
    app: FastAPI,
    *,
    host: str,
    port: int,
    grace_s: int = GRACE_S,
    drain: Drain | None = None,
    linger_s: float = LINGER_S,
    logs_access: bool = False,
    announce: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer over HTTP until SIGTERM or SIGINT; what is then under way has `grace_s` to end.

    After SIGTERM new requests are refused for `linger_s`, so that whoever spreads them sees it and
    turns to others; then the service listens no more. A second signal cuts that short.

    Args:
        app: what answers.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        grace_s: seconds for what is under way.
        drain: shared with the app; None: the app refuses nothing while it ends.
        linger_s: seconds after SIGTERM in which the service still listens.
        logs_access: write a line of JSON for each request to standard error.
        announce: called with the address, e.g. `http://127.0.0.1:8000/`, once the service listens.
    """
    # The service says in one line what Milvus failed at; pymilvus would add a traceback to each.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    if logs_access:
        _log_access()
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=grace_s
    )
    server = _DrainingServer(config, announce, drain or Drain(), linger_s)
    server.run()
    if not server.started:  # uvicorn has said why, e.g. that the port is taken
        sys.exit(NOT_STARTED)


def _spare_the_collector() -> None:
    """Take what is loaded by now out of garbage collection, and collect more seldom.

    Models and libraries are a million objects that stay. To look through them holds up every
    request for a third of a second, which a thousand replies' worth of new objects bring about.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def _log_access() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    access_logger.addHandler(handler)
    access_logger.setLevel(logging.INFO)
    access_logger.propagate = False


class _DrainingServer(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        announce: Callable[[str], None],
        drain: Drain,
        linger_s: float,
    ) -> None:
        super().__init__(config)
        self._announce, self._drain, self._linger_s = announce, drain, linger_s
        self._lingers_until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self._drain.has_begun and self._linger_s > 0:
            self._drain.begin()
            self._lingers_until = time.monotonic() + self._linger_s
            return
        self._drain.begin()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._lingers_until is not None and time.monotonic() >= self._lingers_until:
            self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        _spare_the_collector()
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            self._announce(shown_address(self.config.host, port))


def shown_address(host: str, port: int) -> str:
    """Return the address that a browser on this machine opens.

    Example:
        >>> shown_address("127.0.0.1", 8000), shown_address("0.0.0.0", 80), shown_address("::1", 8)
        ('http://127.0.0.1:8000/', 'http://localhost:80/', 'http://[::1]:8/')
    """
    name = "localhost" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"
