"""A request for candidates on its way through the service: threads, the encoder's queue, deadline.

No thread waits while a text or an image does: the event loop waits for the encoder, and threads do
what blocks, which is to decode, to search and to look up.
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
from serving.recall import RecallService
from serving.replies import RecallReply
from serving.requests import RecallRequest
from serving.workers import DEADLINE_PASSED, Workers

T = TypeVar("T")

ENCODE_TIMEOUT_S = 120.0
"""A query without a deadline waits so many seconds for its encoding."""


class Answering:
    """Answers requests for candidates on the event loop, and counts them."""

    def __init__(self, service: RecallService, workers: Workers, metrics: ServingMetrics) -> None:
        """Answer by a service.

        Args:
            service: knows how.
            workers: threads for what blocks.
            metrics: told of every answer.
        """
        self._service, self._workers, self._metrics = service, workers, metrics

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
        query = await on_thread(lambda: service.submit(request, stages))
        encoded = await _in_time(query.answer, deadline)
        return await on_thread(lambda: service.by_encoding(request, query, encoded, stages))


async def _in_time(answer: "Future[Encoded]", deadline: float | None) -> Encoded:
    timeout_s = ENCODE_TIMEOUT_S if deadline is None else max(0.0, deadline - time.monotonic())
    waited_for = asyncio.wrap_future(answer)
    done, _ = await asyncio.wait([waited_for], timeout=timeout_s)
    if not done:
        waited_for.cancel()  # a query that still waits in the queue is not encoded any more
        raise OutOfTime(DEADLINE_PASSED)
    return waited_for.result()
