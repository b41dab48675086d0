"""How a service ends: it refuses what is new, and what is under way ends."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import error_response

STILL_ANSWERED = ("/healthz", "/readyz", "/metrics")


class Drain:
    """Whether the service was told to stop; shared by the server and the app."""

    def __init__(self) -> None:
        self.has_begun = False

    def begin(self) -> None:
        """Refuse what is new from now on."""
        self.has_begun = True


class DrainGate:
    """ASGI middleware that answers 503 to what is new while the service ends."""

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self._app, self._drain = app, drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it; refuse as well what had no answer in the end."""
        is_new = self._drain.has_begun and scope["type"] == "http"
        if is_new and scope["path"] not in STILL_ANSWERED:
            await refuse(scope, receive, send)
            return
        has_started = False

        async def noted(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:  # the server's time to end is over
            if has_started or not self._drain.has_begun or scope["type"] != "http":
                raise
            await refuse(scope, receive, send)


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that the service ends, and another one is to be asked."""
    refusal = error_response(
        503,
        "unavailable",
        "the service was told to stop; ask another one, or this one again later",
        headers={"retry-after": "1", "connection": "close"},
    )
    await refusal(scope, receive, send)
