"""The recall service: candidates over HTTP.

Endpoints are plain functions, so that FastAPI runs each in a thread and a slow query does not
hold up the others.
"""

import logging
import time
from collections.abc import Callable

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)

from recall.errors import IndexFailed, InvalidQuery, NotFound, Unavailable
from recall.search import Candidates, Recall
from serving.limits import BodyLimit
from serving.requests import MAX_BASE64_CHARS, RecallReply, RecallRequest

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = MAX_BASE64_CHARS + 4 * 2**20  # an image, and the longest history and filter


class Meter:
    """Counts and times of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "recall_answers",
            "Queries by what they ask about and how they ended.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "recall_seconds",
            "Seconds to answer, by what a query asks about and what the gate chose.",
            ("kind", "action"),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )


def create_app(recall: Recall, *, max_body_bytes: int = MAX_BODY_BYTES) -> FastAPI:
    """An app that answers from `recall`.

    Args:
        recall: open for as long as the app runs; the caller closes its index.
        max_body_bytes: the largest request, in bytes; above it the answer is 413.
    """
    app = FastAPI(title="Ponder recall", version="1")
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    _add_error_handlers(app)
    meter = Meter()

    @app.post("/v1/recall")
    def post_recall(request: RecallRequest) -> RecallReply:
        """Candidates for one query."""
        started = time.perf_counter()
        outcome = "error"
        try:
            candidates = answer(recall, request)
            outcome = "ok"
        except (InvalidQuery, NotFound, Unavailable) as error:
            outcome = _STATUS[type(error)][1]
            raise
        finally:
            meter.answers.labels(request.kind, outcome).inc()
        meter.seconds.labels(request.kind, candidates.action or "none").observe(
            time.perf_counter() - started
        )
        return RecallReply.of(candidates)

    @app.get("/healthz")
    def healthz() -> dict[str, str | int]:
        """The live version and its number of items; 503 when no version answers."""
        version = recall.live_version()
        return {"version": version, "rows": recall.index.count(version)}

    @app.get("/metrics")
    def metrics() -> Response:
        """Counts and times as Prometheus reads them."""
        return Response(generate_latest(meter.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def answer(recall: Recall, request: RecallRequest) -> Candidates:
    """What `recall` finds for a request.

    Raises:
        InvalidQuery, NotFound, Unavailable: as the methods of `Recall` say.
    """
    top_k, filter, exclude_seen = request.top_k, request.filter, request.exclude_seen
    if request.item_id is not None:
        return recall.by_item(request.item_id, top_k=top_k, filter=filter)
    if request.user_id is not None:
        return recall.by_user(
            request.user_id, top_k=top_k, filter=filter, exclude_seen=exclude_seen
        )
    if request.history is not None:
        return recall.by_history(
            request.history, top_k=top_k, filter=filter, exclude_seen=exclude_seen
        )
    return recall.by_content(
        request.content(),
        top_k=top_k,
        filter=filter,
        policy=request.policy,
        deadline_s=None if request.deadline_ms is None else request.deadline_ms / 1000,
    )


_STATUS: dict[type[Exception], tuple[int, str]] = {
    InvalidQuery: (422, "invalid_query"),
    NotFound: (404, "not_found"),
    Unavailable: (503, "unavailable"),
}


def _add_error_handlers(app: FastAPI) -> None:
    for kind, (status, name) in _STATUS.items():
        app.add_exception_handler(kind, _handler(status, name))
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(IndexFailed, _index_failed)
    app.add_exception_handler(Exception, _unexpected)


def _handler(status: int, name: str) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        return _error(status, name, str(error))

    return handle


def _invalid_request(request: Request, error: Exception) -> Response:
    # What was sent is not sent back: it may be an image of megabytes.
    fields = [
        {"field": ".".join(str(part) for part in e["loc"]), "message": e["msg"]}
        for e in error.errors()  # type: ignore[attr-defined]
    ]
    message = "; ".join(f"{f['field']}: {f['message']}" for f in fields)
    return _error(422, "invalid_request", message, fields=fields)


def _index_failed(request: Request, error: Exception) -> Response:
    logger.error("Milvus failed: %s", error)
    return _error(503, "unavailable", "the index cannot answer now; try again later")


def _unexpected(request: Request, error: Exception) -> Response:
    return _error(500, "internal", "something went wrong here; the log says what")


def _error(status: int, name: str, message: str, **details: object) -> JSONResponse:
    error = {"type": name, "message": message, **details}
    return JSONResponse({"error": error}, status_code=status)
