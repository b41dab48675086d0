"""Images from web servers, none of which is trusted.

One fetch is one or more plain GET requests, each over a connection of its own: no cookies, no
credentials, no proxy from the environment, no reuse, and nothing a server says is believed before
it is checked (lengths, encodings, redirects).
"""

import re
import ssl
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import quote, urljoin, urlsplit

import httpcore2 as httpcore

from catalog.images.addresses import AddressRule, Resolve, resolve
from catalog.images.check import check_size
from catalog.images.guarded_connection import Deadline, GuardedBackend
from catalog.images.image import ImageConfig, ImageUnavailable
from catalog.records import RecordError

USER_AGENT = b"ponder (catalogue images)"
REDIRECTS = (301, 302, 303, 307, 308)
TEMPORARY = (408, 425, 429, *range(500, 600))
ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS

_ASCII_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+(%\w+)?", re.IGNORECASE)


def fetch_http(
    url: str,
    config: ImageConfig,
    *,
    resolve: Resolve = resolve,
    ssl_context: ssl.SSLContext | None = None,
) -> bytes:
    """Fetch the bytes behind an `http:` or `https:` address, after its redirects.

    Args:
        url: untrusted, and so is every server it leads to.
        config: limits, and the networks that may be reached.
        resolve: gives the addresses of a host name; it is asked once a request.
        ssl_context: whose certificates are trusted; None takes the system's.

    Raises:
        ImageUnavailable: no server, no answer in time, or one that speaks of a passing trouble.
        RecordError: at stage "media"; the address or a redirect is refused, there is nothing
            behind it, or it is too large.
    """
    deadline = Deadline(
        total_s=config.total_timeout_s,
        connect_s=config.connect_timeout_s,
        read_s=config.read_timeout_s,
    )
    backend = GuardedBackend(AddressRule(allow=config.allow), deadline, resolve=resolve)
    for _ in range(config.max_redirects + 1):
        answer = _get(url, backend, ssl_context or _system_ssl(), max_bytes=config.max_bytes)
        if isinstance(answer, bytes):
            return answer
        url = answer
    raise RecordError("media", f"image_uri may redirect {config.max_redirects} times, got more")


def _get(
    url: str, backend: GuardedBackend, ssl_context: ssl.SSLContext, *, max_bytes: int
) -> bytes | str:
    """Return the body of a GET, or the address it is redirected to."""
    target, host = _request_target(url)
    headers = [
        (b"Host", host),
        (b"User-Agent", USER_AGENT),
        (b"Accept", b"image/*"),
        (b"Accept-Encoding", b"identity"),
        (b"Connection", b"close"),
    ]
    with (
        _told_as_reasons(host.decode()),
        httpcore.HTTPConnection(
            target.origin, ssl_context=ssl_context, network_backend=backend
        ) as connection,
        connection.stream("GET", target, headers=headers) as response,
    ):
        if response.status in REDIRECTS:
            return _location(response, url)
        if response.status in TEMPORARY:
            raise ImageUnavailable(
                f"the server must answer with status 200, got {response.status}; try again later"
            )
        if response.status != 200:
            raise RecordError(
                "media", f"the server must answer with status 200, got {response.status}"
            )
        return _body(response, max_bytes=max_bytes)


def _request_target(url: str) -> tuple[httpcore.URL, bytes]:
    """Return what to ask for, and the value of the Host header."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        ascii_host = host if ":" in host else host.encode("idna").decode()
    except ValueError as error:
        raise RecordError("media", f"image_uri must be a URL, got: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise RecordError("media", f"image_uri must stay with http or https, got {parts.scheme!r}")
    if "@" in parts.netloc:
        raise RecordError("media", "image_uri must carry no user name or password")
    if not _ASCII_HOST.fullmatch(ascii_host):
        raise RecordError("media", f"image_uri must name a host, got {host!r}")
    path = quote(parts.path or "/", safe="/%:=&~+!$,;'@()*")
    query = quote(parts.query, safe="/%:=&~+!$,;'@()*?[]")
    target = httpcore.URL(
        scheme=parts.scheme.encode(),
        host=ascii_host.encode(),
        port=port,
        target=f"{path}?{query}".encode() if query else path.encode(),
    )
    bracketed = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
    return target, (bracketed if port is None else f"{bracketed}:{port}").encode()


def _location(response: httpcore.Response, url: str) -> str:
    location = _header(response, b"location")
    if not location:
        raise RecordError("media", "a redirect must say where to, got no Location")
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise RecordError("media", f"a redirect must lead to a URL, got: {error}") from error


def _body(response: httpcore.Response, *, max_bytes: int) -> bytes:
    announced = _header(response, b"content-length")
    if announced.isdecimal():
        check_size(int(announced), max_bytes=max_bytes)
    encoding = _header(response, b"content-encoding").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise RecordError("media", f"the server must send gzip or plain bytes, got {encoding!r}")
    packed = encoding not in ("", "identity")
    unpacker = zlib.decompressobj(ZLIB_OR_GZIP) if packed else None
    body = bytearray()
    for chunk in response.iter_stream():
        # One byte more than may be tells a bomb, and is all of it that is ever unpacked.
        body += unpacker.decompress(chunk, max_bytes + 1 - len(body)) if unpacker else chunk
        check_size(len(body), max_bytes=max_bytes)
    return bytes(body)


def _header(response: httpcore.Response, name: bytes) -> str:
    """Return the last value of a response header; empty when there is none."""
    values = {key.lower(): value for key, value in response.headers}
    return values.get(name, b"").decode("latin-1")


@contextmanager
def _told_as_reasons(host: str) -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException as error:
        reason = f"the server of image_uri must answer in time, got from {host}: {_text(error)}"
        raise ImageUnavailable(reason) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        reason = f"the server of image_uri must be reached, got from {host}: {_text(error)}"
        raise ImageUnavailable(reason) from error
    except zlib.error as error:
        reason = f"the server must send what it says it packed, got from {host}: {error}"
        raise RecordError("media", reason) from error


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


@cache
def _system_ssl() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads all certificates of the system: once is enough
