"""Serve the app until the process is told to stop."""

import logging
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

GRACE_S = 10
"""Seconds that requests under way have to end when the service is told to stop."""

NOT_STARTED = 3  # uvicorn's own exit code
EVERYWHERE = ("0.0.0.0", "::")


def run(
    app: FastAPI,
    *,
    host: str,
    port: int,
    grace_s: int = GRACE_S,
    announce: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer over HTTP until SIGTERM or SIGINT; what is then under way has `grace_s` to end.

    Args:
        app: what answers.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        grace_s: seconds for what is under way.
        announce: called with the address, e.g. `http://127.0.0.1:8000/`, once the service listens.
    """
    # The service says in one line what Milvus failed at; pymilvus would add a traceback to each.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=grace_s
    )
    server = _AnnouncingServer(config, announce)
    server.run()
    if not server.started:  # uvicorn has said why, e.g. that the port is taken
        sys.exit(NOT_STARTED)


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
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
