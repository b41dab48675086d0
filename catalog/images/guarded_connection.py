"""Connections that go only to permitted addresses and end when their time is up.

httpcore asks for a connection by host name. The name is resolved once, here; the addresses it gave
are judged and connected to, so no second answer of the name server can lead elsewhere. Above this,
the host name stays what TLS verifies and what the server is told.
"""

import ssl
from collections.abc import Iterable
from time import monotonic
from typing import Any

import httpcore2 as httpcore

from catalog.images.addresses import AddressRule, Resolve
from catalog.records import RecordError


class Deadline:
    """The moment by which a fetch must be done, over all its connections."""

    def __init__(self, *, total_s: float, connect_s: float, read_s: float) -> None:
        """Start the clock.

        Args:
            total_s: from now until everything must be done.
            connect_s: longest wait for one connection, and again for its TLS handshake.
            read_s: longest wait for the next bytes.
        """
        self._at = monotonic() + total_s
        self._total_s = total_s
        self.connect_s = connect_s
        self.read_s = read_s

    def cut(self, wait_s: float) -> float:
        """Return how long an operation may take that may take `wait_s` by itself, in seconds, > 0.

        Raises:
            httpcore.TimeoutException: the time is up.
        """
        left_s = self._at - monotonic()
        if left_s <= 0:
            raise httpcore.TimeoutException(f"not done within {self._total_s:g} s")
        return min(left_s, wait_s)


class GuardedBackend(httpcore.NetworkBackend):
    """Opens the connections of one fetch."""

    def __init__(self, rule: AddressRule, deadline: Deadline, *, resolve: Resolve) -> None:
        """Open nothing yet.

        Args:
            rule: judges every address before it is connected to.
            deadline: of the fetch.
            resolve: gives the addresses of a host.
        """
        self._rule = rule
        self._deadline = deadline
        self._resolve = resolve
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first permitted address of a host that accepts a connection.

        Raises:
            RecordError: the host has addresses, but none that may be connected to.
            httpcore.ConnectError: it has no address, or none accepts a connection.
            httpcore.TimeoutException: none did in time.
        """
        try:
            found = self._resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"the name is not resolved: {error}") from error
        permitted = self._rule.permitted(found)
        if not permitted:
            raise RecordError(
                "media",
                "image_uri must lead to a public address or into an allowed network, got "
                f"{host!r} at {', '.join(found)}",
            )
        for address in permitted[:-1]:
            try:
                return self._connect(address, port)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the next may do; of the last one the error is told
        return self._connect(permitted[-1], port)

    def _connect(self, address: str, port: int) -> httpcore.NetworkStream:
        wait_s = self._deadline.cut(self._deadline.connect_s)
        return _TimedStream(self._plain.connect_tcp(address, port, timeout=wait_s), self._deadline)


class _TimedStream(httpcore.NetworkStream):
    """A stream that waits by a deadline, not as its caller asks: a byte now and then buys no time.

    (A caller can only limit one wait at a time, and a server that trickles meets every such limit.)
    """

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout=self._deadline.cut(self._deadline.read_s))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout=self._deadline.cut(self._deadline.read_s))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        wait_s = self._deadline.cut(self._deadline.connect_s)
        secured = self._stream.start_tls(ssl_context, server_hostname, wait_s)
        return _TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
