"""Queries of many clients to encodings: a bounded queue, and one thread that the models run on.

Whoever asks prepares the query on a thread of its own (an image is decoded there, and a model that
is not there yet is loaded there), and puts it into the queue. The one thread lets what waits join
the batch of its model version, and advances the batches by small pieces of work in turn.
"""

import itertools
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from embedder.content import Answer, Content, Encoder, Encoding, Failure, Policy
from embedder.query_batch import QueryBatch, query_batch
from recall.errors import Busy, InvalidQuery, OutOfTime, Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_OPEN = 2
"""Model versions that are kept: the live one, and the one before or the one compared with."""

SMOOTHING = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryEncoderConfig:
    """How much may wait, and how much runs together."""

    max_waiting: int = 256
    """Queries in the queue; above it they are refused."""

    max_under_way: int = 64
    """Queries in the batches; above it only those join that never reason."""

    max_joining: int = 32
    """Queries that join at once."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoding, and how long it took."""

    encoding: Encoding

    prepared_ms: float
    """Milliseconds in which the asking thread prepared it."""

    waited_ms: float
    """Milliseconds in the queue."""

    took_ms: float
    """Milliseconds from the queue to the encoding."""

    ended_at: float = field(default_factory=time.monotonic)
    """The moment of `time.monotonic` at which it was there."""


@dataclass(slots=True, eq=False)
class _Query:
    version: str
    prepared: Any
    policy: Policy | None
    deadline: float | None
    max_new_tokens: int | None
    prepared_s: float
    answer: "Future[Encoded]" = field(default_factory=Future)
    queued_at: float = field(default_factory=time.monotonic)
    joined_at: float = 0.0

    @property
    def may_reason(self) -> bool:
        return self.policy != "never"


@dataclass(slots=True)
class _Open:
    """A model version that is loaded."""

    encoder: Encoder
    batch: QueryBatch
    queries: dict[int, _Query] = field(default_factory=dict)


class QueryEncoder:
    """Encodes queries of many threads on one; the thread starts with the first query."""

    def __init__(
        self, encoder_of: Callable[[str], Encoder], config: QueryEncoderConfig | None = None
    ) -> None:
        """Load nothing yet.

        Args:
            encoder_of: the encoder of a model version; LookupError for one that it does not have.
            config: how much may wait.
        """
        self._encoder_of = encoder_of
        self.config = config or QueryEncoderConfig()
        self.on_joined: Callable[[int], None] = lambda num_queries: None
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._loading = threading.Lock()
        self._waiting: deque[_Query] = deque()
        self._work: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._busy_since: float | None = None
        self._seconds_per_query = 0.0

    @property
    def num_waiting(self) -> int:
        """Queries in the queue."""
        return len(self._waiting)

    @property
    def num_under_way(self) -> int:
        """Queries in the batches."""
        return sum(len(opened.queries) for opened in tuple(self._open.values()))

    def stuck_s(self) -> float:
        """Return the seconds that the present piece of work has taken; 0 when there is none."""
        since = self._busy_since
        if self._thread is not None and not self._thread.is_alive():
            return math.inf
        return 0.0 if since is None else time.monotonic() - since

    def is_loaded(self, version: str) -> bool:
        """Whether a version's encoder is there."""
        return version in self._open

    def load(self, version: str) -> Encoder:
        """Return a version's encoder, loaded on the calling thread if it is not there yet.

        Raises:
            Unavailable: the encoder cannot be had.
        """
        return self._opened(version).encoder

    def submit(
        self,
        content: Content,
        version: str,
        *,
        policy: Policy | None = None,
        deadline: float | None = None,
        max_new_tokens: int | None = None,
    ) -> "Future[Encoded]":
        """Put a query into the queue; the future brings its encoding, or the error.

        Args:
            content: the query, untrusted.
            version: model version that encodes it.
            policy: overrules the version's own.
            deadline: a moment of `time.monotonic`. What still reasons then is answered directly;
                what still waits then is not answered, `OutOfTime`.
            max_new_tokens: of a rationale, where that is less than the version's own limit.

        Raises:
            Busy: too many wait, or so many that the deadline would pass.
            InvalidQuery: the content is unreadable, or the version cannot follow the policy.
            Unavailable: the version's encoder cannot be had.
        """
        self._refuse_when_full(deadline)  # before an image is decoded for nothing
        started = time.monotonic()
        try:
            prepared = self._opened(version).batch.prepare(content, policy=policy)
        except ValueError as error:
            raise _invalid(error) from error
        query = _Query(
            version, prepared, policy, deadline, max_new_tokens, time.monotonic() - started
        )
        with self._changed:
            self._refuse_when_full(deadline)
            self._waiting.append(query)
            self._notify()
        return query.answer

    def run(self, version: str, work: Callable[[Encoder], T]) -> T:
        """Return what `work` makes with a version's encoder, between two pieces of other work.

        Raises:
            Unavailable: the encoder cannot be had.
        """
        encoder, answer = self.load(version), Future[T]()

        def call() -> None:
            try:
                answer.set_result(work(encoder))
            except BaseException as error:  # it is raised again where the result is waited for
                answer.set_exception(error)

        with self._changed:
            self._work.append(call)
            self._notify()
        return answer.result()

    def _refuse_when_full(self, deadline: float | None) -> None:
        num = len(self._waiting)
        wait_s = (num + 1) * self._seconds_per_query
        if num >= self.config.max_waiting:
            raise Busy(f"{num} queries wait to be read; try again later", retry_after_s=wait_s)
        if deadline is not None and time.monotonic() + wait_s > deadline:
            message = f"{num} queries wait to be read, and the deadline would pass; try again later"
            raise Busy(message, retry_after_s=wait_s)

    def _opened(self, version: str) -> _Open:
        if (opened := self._known(version)) is not None:
            return opened
        with self._loading:
            if (opened := self._known(version)) is not None:
                return opened
            try:
                encoder = self._encoder_of(version)
            except LookupError as error:
                raise Unavailable(f"no encoder for version {version!r}: {error}") from error
            opened = _Open(encoder, query_batch(encoder))
            with self._changed:
                self._open[version] = opened
            return opened

    def _known(self, version: str) -> _Open | None:
        with self._changed:
            if version in self._open:
                self._open.move_to_end(version)
            return self._open.get(version)

    def _notify(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="encoder", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._work or self.num_under_way):
                    self._busy_since = None
                    self._changed.wait()
                self._busy_since = time.monotonic()
                work = [self._work.popleft()] if self._work else []
                joining = self._joining()
            for call in work:
                call()
            self._join(joining)
            started = time.monotonic()
            for version, opened in tuple(self._open.items()):
                if opened.queries:
                    self._busy_since = time.monotonic()
                    self._advance(version, opened)
            if joining:
                self._learn((time.monotonic() - started) / len(joining))
            self._close_unused()

    def _joining(self) -> list[_Query]:
        """Take those out of the queue that join now, in order; forget those that gave up."""
        free, joining, left = self.config.max_under_way - self.num_under_way, list[_Query](), []
        while self._waiting and len(joining) < self.config.max_joining:
            query = self._waiting.popleft()
            if query.may_reason and free <= 0:
                left.append(query)
            elif query.answer.set_running_or_notify_cancel():
                joining.append(query)
                free -= 1
        self._waiting.extendleft(reversed(left))
        return joining

    def _join(self, joining: list[_Query]) -> None:
        now, num = time.monotonic(), 0
        for query in joining:
            if query.deadline is not None and query.deadline <= now:
                query.answer.set_exception(OutOfTime("the deadline passed while the query waited"))
                continue
            try:
                opened = self._opened(query.version)
                number = next(self._numbers)
                opened.batch.add(
                    number,
                    query.prepared,
                    policy=query.policy,
                    deadline=query.deadline,
                    max_new_tokens=query.max_new_tokens,
                )
            except Exception as error:
                query.answer.set_exception(error)
                continue
            query.joined_at, num = now, num + 1
            opened.queries[number] = query
        if num:
            self.on_joined(num)

    def _advance(self, version: str, opened: _Open) -> None:
        try:
            answers = opened.batch.advance()
        except Exception:
            logger.exception("the encoder of version %r failed", version)
            failed = Unavailable("the model failed at this query or at one beside it; ask again")
            answers = [(number, Failure(failed)) for number in opened.queries]
            opened.batch = query_batch(opened.encoder)
        for number, answer in answers:
            _tell(opened.queries.pop(number), answer)

    def _learn(self, seconds: float) -> None:
        before = self._seconds_per_query
        self._seconds_per_query += (SMOOTHING if before else 1.0) * (seconds - before)

    def _close_unused(self) -> None:
        """Keep the versions that were asked last, and those with queries under way."""
        if len(self._open) <= MAX_OPEN:
            return
        with self._changed:
            asked = {query.version for query in self._waiting}
            for version, opened in tuple(self._open.items())[:-MAX_OPEN]:
                if not opened.queries and version not in asked:
                    del self._open[version]


def _tell(query: _Query, answer: Answer) -> None:
    if isinstance(answer, Encoding):
        now = time.monotonic()
        spans = (query.prepared_s, query.joined_at - query.queued_at, now - query.joined_at)
        query.answer.set_result(Encoded(answer, *(1000 * seconds for seconds in spans)))
    elif isinstance(answer.error, ValueError):
        query.answer.set_exception(_invalid(answer.error))
    else:
        query.answer.set_exception(answer.error)


def _invalid(error: ValueError) -> InvalidQuery:
    return InvalidQuery(f"the query cannot be read: {error}")
