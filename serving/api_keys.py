"""API keys: who may ask what.

Keys are long random strings, so a plain SHA-256 of each is kept, and no key itself. A key is shown
once, when it is made.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import error_response

Right = Literal["recall", "recommend", "write", "admin"]
"""`recall`: candidates, and what the console shows; `recommend`: what the ranker puts in order;
`write`: to put and delete items; `admin`: metrics, and everything else."""

PREFIX = "ponder_"

PUBLIC = ("/", "/healthz", "/readyz", "/docs", "/openapi.json")
PUBLIC_BELOW = ("/console/",)
RANKED = ("/v1/recommend", "/v1/rank")
SCHEME = "bearer"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key."""

    sha256: str
    """Of the key, 64 hexadecimal digits."""

    scopes: tuple[Right, ...]
    """What it allows."""


def new_key() -> tuple[str, str]:
    """Return a new key, of 256 random bits, and its SHA-256."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, digest(key)


def digest(key: str) -> str:
    """Return what is kept of a key.

    >>> digest("ponder_x")[:8]
    '42ef7c50'
    """
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def right_for(method: str, path: str) -> Right | None:
    """Return what a request needs; None for what anybody may ask.

    >>> right_for("POST", "/v1/recall"), right_for("DELETE", "/v1/items/a"), right_for("GET", "/")
    ('recall', 'write', None)
    """
    if path in PUBLIC or path.startswith(PUBLIC_BELOW):
        return None
    if not path.startswith("/v1/"):
        return "admin"
    if method in ("PUT", "DELETE"):
        return "write"
    return "recommend" if path in RANKED else "recall"


class KeyCheck:
    """ASGI middleware that answers 401 without a key, and 403 to one that does not allow it."""

    def __init__(self, app: ASGIApp, *, keys: Mapping[str, ApiKey]) -> None:
        """Pass on to `app` what a key allows; `keys` by the names that the log shows."""
        self._app, self._keys = app, dict(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = right_for(scope["method"], scope["path"])
        name = self._named(scope["headers"])
        if name is not None:
            scope["api_key"] = name
        if wanted is None or (name is not None and wanted in self._keys[name].scopes):
            await self._app(scope, receive, send)
            return
        if name is None:
            refusal = error_response(
                401,
                "unauthorized",
                "an API key must be sent as `authorization: Bearer KEY`, one that is known here",
                headers={"www-authenticate": "Bearer"},
            )
        else:
            message = f"the API key {name!r} must have the scope {wanted!r} for this"
            refusal = error_response(403, "forbidden", message)
        await refusal(scope, receive, send)

    def _named(self, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        """Return the name of the key that was sent, compared with all in constant time."""
        sent = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, key = sent.decode("latin-1").partition(" ")
        if scheme.lower() != SCHEME:
            return None
        sent_digest, found = digest(key.strip()), None
        for name, kept in self._keys.items():
            if hmac.compare_digest(kept.sha256, sent_digest):
                found = name
        return found
