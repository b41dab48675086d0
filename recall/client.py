"""A Milvus client whose every call ends in time, and fails in one way.

pymilvus waits for ever for a server that has stopped answering unless each call is given a time,
and tells of one that ran out of it by an error of gRPC's and not by one of its own.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import grpc
from pymilvus import MilvusClient

from recall.errors import IndexFailed

_DEADLINE: ContextVar[float | None] = ContextVar("_DEADLINE", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give all calls of the block `seconds` together; of nested blocks the earlier end holds."""
    outer, deadline = _DEADLINE.get(), time.monotonic() + seconds
    token = _DEADLINE.set(deadline if outer is None else min(outer, deadline))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


class TimedClient:
    """A MilvusClient, called by the same names.

    A call outside of any block of `within` may take `timeout_s`. One that is out of time, or cannot
    reach the server, raises IndexFailed.
    """

    def __init__(
        self, client: MilvusClient, *, timeout_s: float, on_failure: Callable[[], None]
    ) -> None:
        """Call `client`, and `on_failure` when a call fails: the server may have started anew."""
        # They log a traceback for every failed call, expected ones too; the exception says it all.
        for noisy in ("pymilvus.decorators", "grpc._server"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        self._client = client
        self._timeout_s = timeout_s
        self._on_failure = on_failure

    def close(self) -> None:
        """Give back the connection."""
        self._client.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        @functools.wraps(method)
        def call(*args: Any, **options: Any) -> Any:
            left = self._left()
            if left <= 0:
                raise IndexFailed(message=f"no time was left for {name}")
            try:
                return method(*args, timeout=left, **options)
            except IndexFailed:
                self._on_failure()
                raise
            except grpc.RpcError as error:
                self._on_failure()
                raise IndexFailed(message=f"{name}: {error.code().name}") from error

        return call

    def _left(self) -> float:
        deadline = _DEADLINE.get()
        return self._timeout_s if deadline is None else deadline - time.monotonic()
