"""The images of a stream of items: remote ones fetched ahead, many at a time, in order out."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from catalog.images.check import check_image
from catalog.images.circuit_breaker import CircuitBreaker
from catalog.images.host_limiter import HostLimiter
from catalog.images.http import fetch_http
from catalog.images.image import (
    DEFAULTS,
    ImageConfig,
    ImageUnavailable,
    is_remote,
    load_image,
    scheme_of,
)
from catalog.images.object_store import ObjectStoreReader
from catalog.records import Item, RawRecord, RecordError

Fetch = Callable[[str], bytes]
"""The bytes behind an address; `RecordError` or `ImageUnavailable` when they cannot be had."""


class Loaded(NamedTuple):
    """A record and what became of it."""

    record: RawRecord
    item: Item | RecordError
    """The item, or why it cannot be landed."""

    image: bytes | None
    """Still encoded, known to be an image; None when the item has none or cannot be landed."""


@dataclass(slots=True)
class _Fetching:
    """An image under way, for all records that name it."""

    future: Future[bytes]
    num_users: int = 0


class ImageFetcher:
    """Loads images from wherever items name them. Use it as a context manager, for one stream.

    While a slow host is waited for, the images of the records after it are fetched; a host that
    keeps failing is left alone for a while. An address that is named again while its image is
    under way or held is fetched once.
    """

    def __init__(
        self,
        config: ImageConfig = DEFAULTS,
        *,
        base_dir: Path | None = None,
        fetchers: Mapping[str, Fetch] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start no thread and open no connection yet.

        Args:
            config: what may be fetched, and at what cost.
            base_dir: the folder that images named by a path lie in; None refuses paths.
            fetchers: by scheme; None fetches from web servers and S3.
            sleep: waits some seconds before a second attempt.
        """
        self._config = config
        self._base_dir = base_dir
        self._fetchers = fetchers or _fetchers(config)
        self._sleep = sleep
        self._limiter = HostLimiter(max_threads=config.max_concurrency, per_host=config.per_host)
        self._breaker = CircuitBreaker(
            max_failures=config.max_host_failures, pause_s=config.host_pause_s
        )
        self._under_way: dict[str, _Fetching] = {}
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

    def load(
        self,
        parsed: Iterable[tuple[RawRecord, Item | RecordError]],
        *,
        within_s: float | None = None,
    ) -> Iterator[Loaded]:
        """Yield every record with its item and image, in order.

        A record whose image cannot be had comes with the reason in place of its item, as does one
        that already came with a reason.

        Args:
            parsed: the records.
            within_s: images under way are waited for so long from the first record on; the others
                are then unavailable. None: as long as it takes.
        """
        until = None if within_s is None else time.monotonic() + within_s
        ahead: deque[tuple[RawRecord, Item | RecordError, str | None]] = deque()
        try:
            for record, item in parsed:
                item, uri = self._begin(item)
                ahead.append((record, item, uri))
                self._hold(_inline_bytes(item))
                while ahead and (self._is_ready(ahead[0][2]) or self._is_full(len(ahead))):
                    yield self._finish(*ahead.popleft(), until)
            while ahead:
                yield self._finish(*ahead.popleft(), until)
        finally:  # a stream that is given up leaves nothing behind for the next
            for _, item, uri in ahead:
                self._hold(-_inline_bytes(item))
                if uri is not None:
                    self._drop(uri)

    def _begin(self, item: Item | RecordError) -> tuple[Item | RecordError, str | None]:
        """Return the item, and its image's address if that is being fetched from now on."""
        try:
            if isinstance(item, RecordError) or not is_remote(item):
                return item, None
            uri = item.image_uri or ""
            host = host_of(uri)
        except RecordError as error:
            return error, None
        if uri not in self._under_way:
            future = self._limiter.submit(host, lambda: self._fetch(uri, host))
            self._under_way[uri] = _Fetching(future)
        self._under_way[uri].num_users += 1
        return item, uri

    def _is_ready(self, uri: str | None) -> bool:
        return uri is None or self._under_way[uri].future.done()

    def _is_full(self, num_ahead: int) -> bool:
        return (
            num_ahead >= self._config.max_ahead or self._held_bytes >= self._config.max_ahead_bytes
        )

    def _finish(
        self, record: RawRecord, item: Item | RecordError, uri: str | None, until: float | None
    ) -> Loaded:
        self._hold(-_inline_bytes(item))
        if isinstance(item, RecordError):
            return Loaded(record, item, None)
        try:
            if uri is None:
                image = load_image(item, base_dir=self._base_dir, config=self._config)
            else:
                image = self._take(uri, until)
                check_image(
                    image, max_bytes=self._config.max_bytes, max_pixels=self._config.max_pixels
                )
        except RecordError as error:
            return Loaded(record, error, None)
        return Loaded(record, item, image)

    def _take(self, uri: str, until: float | None) -> bytes:
        left_s = None if until is None else max(until - time.monotonic(), 0.0)
        try:
            return self._under_way[uri].future.result(timeout=left_s)
        except TimeoutError as error:
            raise ImageUnavailable(
                "an image must be there when its batch is due, got none yet; replay it later"
            ) from error
        finally:
            self._drop(uri)

    def _drop(self, uri: str) -> None:
        """Give up one record's claim to an image; without any it is held no longer."""
        fetching = self._under_way[uri]
        fetching.num_users -= 1
        if not fetching.num_users:
            del self._under_way[uri]
            fetching.future.cancel()
            fetching.future.add_done_callback(self._forget)

    def _forget(self, future: Future[bytes]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._hold(-len(future.result()))

    def _hold(self, num_bytes: int) -> None:
        with self._lock:
            self._held_bytes += num_bytes

    def _fetch(self, uri: str, host: str) -> bytes:
        """Fetch an image, in a thread, by as many attempts as it takes and its host is due."""

        def is_worth_another(error: BaseException) -> bool:
            return isinstance(error, ImageUnavailable) and not self._breaker.is_paused(host)

        retrying = Retrying(
            stop=stop_after_attempt(self._config.max_attempts),
            wait=wait_exponential(multiplier=self._config.retry_wait_s),
            retry=retry_if_exception(is_worth_another),
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(self._attempt, uri, host)

    def _attempt(self, uri: str, host: str) -> bytes:
        if self._breaker.is_paused(host):
            raise ImageUnavailable(
                "the server of image_uri must answer now and then, got "
                f"{self._config.max_host_failures} failures in a row from {host}"
            )
        try:
            image = self._fetchers[scheme_of(uri)](uri)
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
        self._hold(len(image))
        return image


def host_of(uri: str) -> str:
    """Return what a fetch is counted against: a web server's name, or `s3://` and a bucket's.

    Raises:
        RecordError: at stage "media"; the address names none.
    """
    parts = urlsplit(uri)
    if not parts.hostname:
        raise RecordError("media", f"image_uri must name a host or a bucket, got {uri[:80]!r}")
    return f"s3://{parts.netloc}" if parts.scheme == "s3" else parts.hostname


def _inline_bytes(item: Item | RecordError) -> int:
    return 0 if isinstance(item, RecordError) else len(item.image_uri or "")


def _fetchers(config: ImageConfig) -> dict[str, Fetch]:
    def http(url: str) -> bytes:
        return fetch_http(url, config)

    return {"http": http, "https": http, "s3": ObjectStoreReader(config).fetch}
