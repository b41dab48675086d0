"""What a stream of items shows, fetched ahead, many at a time, in order out."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, get_args
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from catalog.decoding.decoder import GuardedDecoder
from catalog.images.check import check_image
from catalog.images.circuit_breaker import CircuitBreaker
from catalog.images.host_limiter import HostLimiter
from catalog.images.http import fetch_http
from catalog.images.image import (
    DEFAULTS,
    ImageConfig,
    ImageUnavailable,
    load_image,
    load_local,
    scheme_of,
)
from catalog.images.object_store import ObjectStoreReader
from catalog.images.shown import NOTHING_SHOWN, Address, Kind, Shown, addresses_of
from catalog.records import Item, RawRecord, RecordError

Fetch = Callable[[str], bytes]
"""The bytes behind an address; `RecordError` or `ImageUnavailable` when they cannot be had."""


class Loaded(NamedTuple):
    """A record and what became of it."""

    record: RawRecord
    item: Item | RecordError
    """The item, or why it cannot be landed."""

    shown: Shown
    """All that the item names; nothing when it cannot be landed."""


@dataclass(slots=True)
class _Fetching:
    """An image, a clip or a sound under way, for all records that name it."""

    future: Future[bytes]
    num_users: int = 0


class ImageFetcher:
    """Loads what items show from wherever they name it, as a context manager, for one stream.

    While a slow host is waited for, the images of the records after it are fetched; a host that
    keeps failing is left alone for a while. An address that is named again while its image is
    under way or held is fetched once. Clips and sounds are loaded and checked in the same way
    wherever they are, for that takes long.
    """

    def __init__(
        self,
        config: ImageConfig = DEFAULTS,
        *,
        base_dir: Path | None = None,
        fetchers: Mapping[str, Fetch] | None = None,
        guarded_decoder: GuardedDecoder | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start no thread and open no connection yet.

        Args:
            config: what may be fetched, and at what cost.
            base_dir: the folder that images named by a path lie in; None refuses paths.
            fetchers: by scheme, of whatever is shown; None fetches from web servers and S3.
            guarded_decoder: checks clips and sounds; closed with the fetcher.
            sleep: waits some seconds before a second attempt.
        """
        self._config = config
        self._base_dir = base_dir
        self._fetchers: dict[Kind, Mapping[str, Fetch]] = {
            kind: fetchers or _fetchers(replace(config, max_bytes=_max_bytes(kind, config)))
            for kind in get_args(Kind)
        }
        self._guarded_decoder = guarded_decoder or GuardedDecoder()
        self._sleep = sleep
        self._limiter = HostLimiter(max_threads=config.max_concurrency, per_host=config.per_host)
        self._breaker = CircuitBreaker(
            max_failures=config.max_host_failures, pause_s=config.host_pause_s
        )
        self._under_way: dict[Address, _Fetching] = {}
        self._lock = threading.Lock()
        self._held_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def batch_timeout_s(self) -> float:
        """See `ImageConfig`."""
        return self._config.batch_timeout_s

    def close(self) -> None:
        """Drop what is not fetched yet; see `HostLimiter.close`."""
        self._limiter.close()
        self._guarded_decoder.close()

    def load(
        self,
        parsed: Iterable[tuple[RawRecord, Item | RecordError]],
        *,
        within_s: float | None = None,
    ) -> Iterator[Loaded]:
        """Yield every record with its item and what it shows, in order.

        A record of which something cannot be had comes with the reason in place of its item, as
        does one that already came with a reason.

        Args:
            parsed: the records.
            within_s: images under way are waited for so long from the first record on; the others
                are then unavailable. None: as long as it takes.
        """
        until = None if within_s is None else time.monotonic() + within_s
        ahead: deque[_Begun] = deque()
        try:
            for record, item in parsed:
                ahead.append(self._begin(record, item))
                self._hold(ahead[-1].inline_bytes)
                while ahead and (self._is_ready(ahead[0]) or self._is_full(len(ahead))):
                    yield self._finish(ahead.popleft(), until)
            while ahead:
                yield self._finish(ahead.popleft(), until)
        finally:  # a stream that is given up leaves nothing behind for the next
            for begun in ahead:
                self._hold(-begun.inline_bytes)
                for address in begun.under_way:
                    self._drop(address)

    def _begin(self, record: RawRecord, item: Item | RecordError) -> "_Begun":
        """Begin to fetch what takes long of all that an item shows."""
        if isinstance(item, RecordError):
            return _Begun(record, item)
        begun = _Begun(record, item, addresses_of(item))
        try:
            tasks = {address: self._task(address) for address in dict.fromkeys(begun.addresses)}
        except RecordError as error:
            return _Begun(record, error)
        for address, host_and_task in tasks.items():
            if host_and_task is None:
                continue
            if address not in self._under_way:
                self._under_way[address] = _Fetching(self._limiter.submit(*host_and_task))
            self._under_way[address].num_users += 1
            begun.under_way.append(address)
        return begun

    def _task(self, address: Address) -> tuple[str, Callable[[], bytes]] | None:
        """Return what is to be done in a thread for an address, and for which host; None: nothing.

        Raises:
            RecordError: at stage "media"; it is no address.
        """
        if address.is_remote:
            try:
                host = host_of(address.uri)
            except RecordError as error:
                raise address.told_of(error) from error
            return host, lambda: self._fetch(address, host)
        if address.kind != "image":
            return "", lambda: self._decodable(address, None)
        return None

    def _is_ready(self, begun: "_Begun") -> bool:
        return all(self._under_way[address].future.done() for address in begun.under_way)

    def _is_full(self, num_ahead: int) -> bool:
        return (
            num_ahead >= self._config.max_ahead or self._held_bytes >= self._config.max_ahead_bytes
        )

    def _finish(self, begun: "_Begun", until: float | None) -> Loaded:
        self._hold(-begun.inline_bytes)
        if isinstance(begun.item, RecordError):
            return Loaded(begun.record, begun.item, NOTHING_SHOWN)
        shown: list[tuple[Kind, bytes]] = []
        try:
            for address in begun.addresses:
                try:
                    shown.append((address.kind, self._loaded(address, begun, until)))
                except RecordError as error:
                    raise address.told_of(error) from error
        except RecordError as error:
            return Loaded(begun.record, error, NOTHING_SHOWN)
        finally:
            for address in begun.under_way:
                self._drop(address)
        images = [data for kind, data in shown if kind == "image"]
        others = {kind: data for kind, data in shown if kind != "image"}
        return Loaded(
            begun.record,
            begun.item,
            Shown(
                images[0] if images else None,
                tuple(images[1:]),
                others.get("clip"),
                others.get("audio"),
            ),
        )

    def _loaded(self, address: Address, begun: "_Begun", until: float | None) -> bytes:
        """Return what is behind an address, checked."""
        config = self._config
        if address not in begun.under_way:
            return load_image(address.uri, base_dir=self._base_dir, config=config)
        data = self._take(address, until)
        if address.kind == "image":
            check_image(data, max_bytes=config.max_bytes, max_pixels=config.max_pixels)
        return data

    def _take(self, address: Address, until: float | None) -> bytes:
        left_s = None if until is None else max(until - time.monotonic(), 0.0)
        try:
            return self._under_way[address].future.result(timeout=left_s)
        except TimeoutError as error:
            raise ImageUnavailable(
                "an image must be there when its batch is due, got none yet; replay it later"
            ) from error

    def _drop(self, address: Address) -> None:
        """Give up one record's claim to what is behind an address; without any it is let go."""
        fetching = self._under_way[address]
        fetching.num_users -= 1
        if not fetching.num_users:
            del self._under_way[address]
            fetching.future.cancel()
            fetching.future.add_done_callback(self._forget)

    def _forget(self, future: Future[bytes]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._hold(-len(future.result()))

    def _hold(self, num_bytes: int) -> None:
        with self._lock:
            self._held_bytes += num_bytes

    def _fetch(self, address: Address, host: str) -> bytes:
        """Fetch in a thread, by as many attempts as it takes and its host is due."""

        def is_worth_another(error: BaseException) -> bool:
            return isinstance(error, ImageUnavailable) and not self._breaker.is_paused(host)

        retrying = Retrying(
            stop=stop_after_attempt(self._config.max_attempts),
            wait=wait_exponential(multiplier=self._config.retry_wait_s),
            retry=retry_if_exception(is_worth_another),
            sleep=self._sleep,
            reraise=True,
        )
        data = retrying(self._attempt, address, host)
        if address.kind != "image":
            return self._decodable(address, data)
        self._hold(len(data))
        return data

    def _decodable(self, address: Address, fetched: bytes | None) -> bytes:
        """Return a clip or sound that is known to be one, read from here if it was not fetched."""
        config = self._config
        if fetched is None:
            most = _max_bytes(address.kind, config)
            fetched = load_local(address.uri, base_dir=self._base_dir, max_bytes=most)
        if address.kind == "clip":
            self._guarded_decoder.frames(fetched, limits=config.clips)
        else:
            self._guarded_decoder.waveform(fetched, limits=config.audio)
        self._hold(len(fetched))
        return fetched

    def _attempt(self, address: Address, host: str) -> bytes:
        if self._breaker.is_paused(host):
            raise ImageUnavailable(
                "the server of image_uri must answer now and then, got "
                f"{self._config.max_host_failures} failures in a row from {host}"
            )
        try:
            data = self._fetchers[address.kind][scheme_of(address.uri)](address.uri)
        except ImageUnavailable:
            self._breaker.failed(host)
            raise
        except RecordError:
            self._breaker.answered(host)
            raise
        except Exception as error:  # what trips a library must cost its item and not the batch
            reason = f"image_uri must be fetched, got {type(error).__name__}: {error}"
            raise RecordError("media", reason) from error
        self._breaker.answered(host)
        return data


@dataclass(slots=True)
class _Begun:
    """A record of which all that takes long is under way."""

    record: RawRecord
    item: Item | RecordError
    addresses: list[Address] = field(default_factory=list)
    under_way: list[Address] = field(default_factory=list)
    """Those that are fetched, or loaded in a thread."""

    @property
    def inline_bytes(self) -> int:
        """Bytes of the record that are addresses, for an image may be inside."""
        return sum(len(address.uri) for address in self.addresses)


def host_of(uri: str) -> str:
    """Return what a fetch is counted against: a web server's name, or `s3://` and a bucket's.

    Raises:
        RecordError: at stage "media"; the address names none.
    """
    parts = urlsplit(uri)
    if not parts.hostname:
        raise RecordError("media", f"image_uri must name a host or a bucket, got {uri[:80]!r}")
    return f"s3://{parts.netloc}" if parts.scheme == "s3" else parts.hostname


def _max_bytes(kind: Kind, config: ImageConfig) -> int:
    most = {"image": config.max_bytes, "clip": config.clips.max_bytes}
    return most.get(kind, config.audio.max_bytes)


def _fetchers(config: ImageConfig) -> dict[str, Fetch]:
    def http(url: str) -> bytes:
        return fetch_http(url, config)

    return {"http": http, "https": http, "s3": ObjectStoreReader(config).fetch}
