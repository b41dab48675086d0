"""How much a client may send, and how long it may take."""

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.draining import Drain, refuse
from serving.errors import error_response

LOOK_S = 0.2
"""Seconds after which a request that waits for its body sees that the service is to end."""


class _TooLarge(Exception):
    """The body has more bytes than a request may have."""


class _Ending(Exception):
    """The service was told to stop before the body was there."""


class _ClientGone(Exception):
    """The client hung up before its body was there."""


class BodyLimit:
    """ASGI middleware that answers 413 to a body above a limit, and 408 to one that does not come.

    The bytes are counted as they come, since a chunked request announces no length.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, timeout_s: float, drain: Drain | None = None
    ) -> None:
        """Pass on to `app` what has at most `max_bytes` and is there within `timeout_s`.

        Once `drain` has begun nobody waits for the rest of a body.
        """
        self._app, self._drain = app, drain or Drain()
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(receive)
        except _ClientGone:
            return  # nobody is there to be answered
        except _Ending:
            await refuse(scope, receive, send)
            return
        except _TooLarge:
            message = f"a request must have at most {self._max_bytes} bytes"
            await error_response(413, "too_large", message)(scope, receive, send)
            return
        except TimeoutError:
            message = f"a request must be there whole within {self._timeout_s:g} s"
            # Else the connection would wait for the rest of this body before the next request.
            refusal = error_response(408, "timeout", message, headers={"connection": "close"})
            await refusal(scope, receive, send)
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)

    async def _body(self, receive: Receive) -> bytes:
        body, ends = bytearray(), time.monotonic() + self._timeout_s
        while True:
            message = await self._message(receive, ends)
            if message["type"] == "http.disconnect":
                raise _ClientGone
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                raise _TooLarge
            if not message.get("more_body", False):
                return bytes(body)

    async def _message(self, receive: Receive, ends: float) -> Message:
        while (left_s := ends - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left_s, LOOK_S)):
                    return await receive()
            except TimeoutError:
                if self._drain.has_begun:
                    raise _Ending from None
        raise TimeoutError
