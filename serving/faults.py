"""Faults of ours: each is answered with 500, and told once a minute with all that led to it.

A fault that every request meets would else fill the log with the same 20 kB again and again.
"""

import logging
import time
import traceback
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import UNFORESEEN, error_response

logger = logging.getLogger(__name__)

QUIET_S = 60.0
MAX_PLACES = 1_000


class Faults:
    """ASGI middleware that answers what nobody has foreseen, and logs it."""

    def __init__(self, app: ASGIApp, *, now: Callable[[], float] = time.monotonic) -> None:
        """Pass everything on to `app`."""
        self._app, self._now = app, now
        self._told: dict[tuple[str, str, int | None], float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 500 where that fails before there is an answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def noted(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            self._tell(error)
            if has_started:
                raise
            await error_response(500, "internal", UNFORESEEN)(scope, receive, send)

    def _tell(self, error: Exception) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place, now = (type(error).__name__, last.filename, last.lineno), self._now()
        if now - self._told.get(place, -QUIET_S) < QUIET_S:
            logger.error("the same fault again: %s in %s, line %s", *place)
            return
        if len(self._told) >= MAX_PLACES:
            self._told.clear()
        self._told[place] = now
        logger.error("a request failed by a fault of the service", exc_info=error)
