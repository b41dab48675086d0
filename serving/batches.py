"""Several queries in one request, each with an answer or an error of its own."""

import asyncio
import time
from typing import Annotated, Any

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from serving.answering import Answering
from serving.errors import QUERY_ERRORS, error_detail, error_replies
from serving.examples import BATCH
from serving.replies import BatchAnswer, RecallBatchReply
from serving.requests import RecallRequest

MAX_BATCH = 100
AT_ONCE = 8  # queries of one batch under way, so that it leaves threads to others


AS_RECALL_REQUEST = WithJsonSchema({"$ref": "#/components/schemas/RecallRequest"})
"""Each is checked by itself, so that one that is wrong stops no other."""


class RecallBatch(BaseModel):
    """Queries that are answered together."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    queries: list[Annotated[dict[str, Any], AS_RECALL_REQUEST]] = Field(
        min_length=1, max_length=MAX_BATCH
    )
    """Each as `POST /v1/recall` takes it."""


def add_batches(app: FastAPI, answering: Answering) -> None:
    """Add the route.

    Args:
        app: whose route it becomes.
        answering: answers each query, and counts it as one.
    """

    @app.post("/v1/recall/batch", responses=error_replies(*QUERY_ERRORS))
    async def post_recall_batch(
        batch: Annotated[RecallBatch, Body(openapi_examples=BATCH)],
    ) -> RecallBatchReply:
        """Find candidates for up to 100 queries; each has its reply or its own error."""
        started = time.perf_counter()
        turn = asyncio.Semaphore(AT_ONCE)

        async def answer(query: dict[str, Any]) -> BatchAnswer:
            try:
                request = RecallRequest.model_validate(query)
                async with turn:
                    return BatchAnswer(reply=await answering.answer(request))
            except Exception as error:
                if (detail := error_detail(error)) is None:
                    raise
                return BatchAnswer(error=detail)

        answers = await asyncio.gather(*map(answer, batch.queries))
        took_ms = 1000 * (time.perf_counter() - started)
        return RecallBatchReply(answers=list(answers), took_ms=round(took_ms, 3))
