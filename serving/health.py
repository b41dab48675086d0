"""Routes that tell whether the service lives, whether it can answer, and how it fares.

`/healthz` fails when the process should be started anew, `/readyz` when requests should go to
another one. Both have threads of their own, and metrics need none.
"""

import time
from collections.abc import Callable
from typing import Literal

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict

from recall.client import within
from recall.errors import Unavailable
from recall.search import Recall
from serving.errors import error_replies
from serving.metrics import ServingMetrics
from serving.remembered import Remembered
from serving.workers import Workers

HEALTH_THREADS = 2
MAX_STUCK_S = 120.0
"""A model that takes longer for one small piece of work has come to a standstill."""

READY_MAX_AGE_S = 1.0
READY_TIMEOUT_S = 2.0


class HealthReply(BaseModel):
    """The process makes progress."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    status: Literal["ok"] = "ok"
    """`ok`; whatever is wrong is a 503."""

    uptime_s: float
    """Seconds since the service started."""

    queue: int
    """Texts and images that wait for the encoder."""

    under_way: int
    """Texts and images that the encoder reads now."""


class ReadyReply(BaseModel):
    """A search was made and answered, at most a second ago."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: str
    """Model version that answers."""

    rows: int
    """Items that it holds."""

    took_ms: float
    """Milliseconds that the search took."""


def add_health(
    app: FastAPI,
    recall: Recall,
    metrics: ServingMetrics,
    *,
    is_draining: Callable[[], bool],
    wait_s: float,
) -> None:
    """Add the routes.

    Args:
        app: whose routes they become.
        recall: what answers.
        metrics: of the same app.
        is_draining: whether the service was told to stop.
        wait_s: seconds that a check waits for a thread.
    """
    workers = Workers(HEALTH_THREADS, wait_s=wait_s)
    started_at = time.monotonic()
    readiness = Remembered(lambda: _searched(recall), max_age_s=READY_MAX_AGE_S)

    @app.get("/healthz", responses=error_replies(503))
    async def healthz() -> HealthReply:
        """Tell that event loop and encoder make progress; 503 when the encoder stands still."""
        encoder = recall.encoder
        if (stuck_s := encoder.stuck_s()) > MAX_STUCK_S:
            raise Unavailable(f"the encoder has stood still for {stuck_s:.0f} s; start anew")
        return HealthReply(
            uptime_s=round(time.monotonic() - started_at, 3),
            queue=encoder.num_waiting,
            under_way=encoder.num_under_way,
        )

    @app.get("/readyz", responses=error_replies(429, 503, 504))
    async def readyz() -> ReadyReply:
        """Make a real search, and tell which version answers; 503 when none does."""
        if is_draining():
            raise Unavailable("the service was told to stop")
        deadline = time.monotonic() + wait_s + READY_TIMEOUT_S
        return await workers.run(readiness.get, deadline=deadline)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def get_metrics() -> Response:
        """Return counts and times as Prometheus reads them."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _searched(recall: Recall) -> ReadyReply:
    started = time.perf_counter()
    with within(READY_TIMEOUT_S):
        version, rows = recall.live.probe()
    return ReadyReply(
        version=version, rows=rows, took_ms=round(1000 * (time.perf_counter() - started), 3)
    )
