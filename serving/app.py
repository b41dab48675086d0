"""The HTTP service: candidates, recommendations, health and metrics.

Endpoints are plain functions, so that FastAPI runs each in a thread and a slow query does not
hold up the others.
"""

import time

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from recall.search import Recall
from serving.errors import add_error_handlers
from serving.images import MAX_BASE64_CHARS
from serving.limits import BodyLimit
from serving.metrics import ServingMetrics, counted, timed
from serving.recall import answer
from serving.recommend import Recommender
from serving.replies import RecallReply, RecommendReply
from serving.requests import RecallRequest, RecommendRequest

MAX_BODY_BYTES = MAX_BASE64_CHARS + 4 * 2**20  # an image, and the longest history and filter


def create_app(
    recall: Recall, recommender: Recommender | None = None, *, max_body_bytes: int = MAX_BODY_BYTES
) -> FastAPI:
    """Build an app that answers from `recall`.

    Args:
        recall: open for as long as the app runs; the caller closes its index.
        recommender: over the same recall; without it there is no /v1/recommend.
        max_body_bytes: the largest request, in bytes; above it the answer is 413.
    """
    app = FastAPI(title="Ponder", version="1")
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    add_error_handlers(app)
    metrics = ServingMetrics()
    _add_recall(app, recall, metrics)
    if recommender is not None:
        _add_recommend(app, recommender, metrics)

    @app.get("/healthz")
    def healthz() -> dict[str, str | int]:
        """Return the live version and its number of items; 503 when no version answers."""
        version = recall.live_version()
        return {"version": version, "rows": recall.index.count(version)}

    @app.get("/metrics")
    def get_metrics() -> Response:
        """Return counts and times as Prometheus reads them."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _add_recall(app: FastAPI, recall: Recall, metrics: ServingMetrics) -> None:
    @app.post("/v1/recall")
    def post_recall(request: RecallRequest) -> RecallReply:
        """Find candidates for one query."""
        started = time.perf_counter()
        with counted(metrics.recall_answers, request.kind):
            candidates = answer(recall, request)
        metrics.recall_seconds.labels(request.kind, candidates.action or "none").observe(
            time.perf_counter() - started
        )
        return RecallReply.of(candidates)


def _add_recommend(app: FastAPI, recommender: Recommender, metrics: ServingMetrics) -> None:
    @app.post("/v1/recommend")
    def post_recommend(request: RecommendRequest) -> RecommendReply:
        """Recommend items to one user, in the ranker's order.

        409 when the ranker was trained on other features or on another version than the live one,
        503 when none was trained.
        """
        with counted(metrics.recommend_answers), timed(metrics.recommend_seconds):
            found = recommender.recommend(
                request.user_id, top_k=request.top_k, filter=request.filter
            )
        return RecommendReply.of(found)
