"""Serve the app until the process is told to stop."""

import logging

from fastapi import FastAPI

GRACE_S = 10
"""Seconds that requests under way have to end when the service is told to stop."""


def run(app: FastAPI, *, host: str, port: int, grace_s: int = GRACE_S) -> None:
    """Answer over HTTP until SIGTERM or SIGINT; what is then under way has `grace_s` to end."""
    import uvicorn

    # The service says in one line what Milvus failed at; pymilvus would add a traceback to each.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=grace_s)
