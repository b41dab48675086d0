"""A request for candidates on its way through the service: threads, the encoder's queue, deadline.

No thread waits while a text, an image or a clip does: the event loop waits for the encoder, and
threads do what blocks, which is to decode, to search and to look up.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from recall.errors import OutOfTime
from recall.query_encoder import Encoded
from recall.stages import Stages
from serving.metrics import ServingMetrics, counted
from serving.recall import EncodedRequest, RecallService
from serving.replies import RecallReply
from serving.requests import RecallRequest
from serving.together import Together
from serving.workers import DEADLINE_PASSED, Workers

T = TypeVar("T")

ENCODE_TIMEOUT_S = 120.0
"""A query without a deadline waits so many seconds for its encoding."""


class Answering:
    """Answers requests for candidates on the event loop, and counts them."""

    def __init__(
        self, service: RecallService, workers: Workers, metrics: ServingMetrics, *, wait_s: float
    ) -> None:
        """Answer by a service.

        Args:
            service: knows how.
            workers: threads for what blocks.
            metrics: told of every answer.
            wait_s: seconds that work waits for a thread at most.
        """
        self._service, self._workers, self._metrics = service, workers, metrics
        self._reading = Together(workers, service.submit_all, wait_s=wait_s)
        self._searching = Together(workers, service.by_encodings, wait_s=wait_s)

    @property
    def num_waiting(self) -> int:
        """Requests that wait for a thread."""
        together = self._reading.num_waiting + self._searching.num_waiting
        return self._workers.num_waiting + together

    async def answer(self, request: RecallRequest) -> RecallReply:
        """Return the reply to a request, before its deadline.

        Raises:
            Busy: too many requests wait.
            OutOfTime: the deadline passed.
            InvalidQuery, NotFound, Unavailable: as the methods of `recall.search.Recall` say.
        """
        stages = Stages()
        with counted(self._metrics.recall_answers, request.kind):
            reply = await self._answer(request, stages)
        self._metrics.observe(request.kind, reply, stages.took_ms / 1000)
        return reply

    async def _answer(self, request: RecallRequest, stages: Stages) -> RecallReply:
        service, deadline = self._service, stages.deadline(request.deadline_ms)

        async def on_thread(work: Callable[[], T]) -> T:
            return await self._workers.run(work, deadline=deadline, stages=stages)

        if request.kind != "content":
            return await on_thread(lambda: service.answer(request, stages))
        if service.is_quickly_read(request):
            query = await self._reading.run(
                (request, stages), alike=None, deadline=deadline, stages=stages
            )
        else:
            query = await on_thread(lambda: service.submit(request, stages))
        encoded = await _in_time(query.answer, deadline)
        piece = EncodedRequest.of(request, query, encoded, stages)
        return await self._searching.run(
            piece, alike=piece.query.alike or piece, deadline=deadline, stages=stages
        )


async def _in_time(answer: "Future[Encoded]", deadline: float | None) -> Encoded:
    timeout_s = ENCODE_TIMEOUT_S if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        async with asyncio.timeout(timeout_s):
            # Given up, a query that still waits in the queue is not encoded any more.
            return await asyncio.wrap_future(answer)
    except OutOfTime:  # the encoder's own
        raise
    except TimeoutError:
        raise OutOfTime(DEADLINE_PASSED) from None
