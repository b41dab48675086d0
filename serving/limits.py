"""How much a client may send, and how long it may take."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import error_response


class _TooLarge(Exception):
    """The body has more bytes than a request may have."""


class _ClientGone(Exception):
    """The client hung up before its body was there."""


class BodyLimit:
    """ASGI middleware that answers 413 to a body above a limit, and 408 to one that does not come.

    The bytes are counted as they come, since a chunked request announces no length.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        """Pass on to `app` what has at most `max_bytes` and is there within `timeout_s`."""
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(self._body(receive), self._timeout_s)
        except _ClientGone:
            return  # nobody is there to be answered
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
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                raise _TooLarge
            if not message.get("more_body", False):
                return bytes(body)
