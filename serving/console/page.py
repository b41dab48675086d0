"""The console: one page for people, made of plain files, that asks the public API alone.

What it shows was written by strangers. It makes every element by hand and never parses text as
HTML, and its policy holds it to that: no script but its own, no address but this service.
"""

import hashlib
from pathlib import Path

from fastapi import FastAPI, Request, Response

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # blob: an image that was dropped, or fetched with an API key
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",  # asked again each time, answered by 304
}


def add_console(app: FastAPI) -> None:
    """Answer `/` with the page, and `/console/` with its styles and scripts.

    The files are read once; there is no way from an address to any other file.
    """
    for path in sorted(STATIC.iterdir()):
        address = "/" if path.name == "index.html" else f"/console/{path.name}"
        _add_file(app, address, path.read_bytes(), MEDIA_TYPES[path.suffix])


def _add_file(app: FastAPI, address: str, content: bytes, media_type: str) -> None:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = HEADERS | {"ETag": tag}

    @app.get(address, include_in_schema=False)
    async def get_file(request: Request) -> Response:
        """Return the file, unless the browser has it."""
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)
