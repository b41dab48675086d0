"""The HTTP service: candidates, recommendations, the console, health and metrics.

Queries are answered on threads, so that a slow one does not hold up the others; a text or an image
that waits for the encoder holds none.
"""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import Body, FastAPI, Response

from catalog.lake.item_lookup import ItemLookup
from recall.search import Recall
from recall.stages import Stages
from serving import audio, clips
from serving.access_log import VERSION_HEADER, AccessLog
from serving.answering import Answering
from serving.api_keys import ApiKey, KeyCheck
from serving.batches import add_batches
from serving.browsing import add_browsing
from serving.catalogue import Catalogue
from serving.console.page import add_console
from serving.draining import Drain, DrainGate
from serving.errors import QUERY_ERRORS, add_error_handlers, error_replies
from serving.examples import RANK_REQUESTS, RECALL_REPLY, RECALL_REQUESTS, RECOMMEND_REQUESTS
from serving.faults import Faults
from serving.health import add_health
from serving.images import MAX_BASE64_CHARS
from serving.item_changes import ItemWriter, add_item_changes
from serving.limits import BodyLimit
from serving.live_validation import LiveValidation
from serving.metrics import ServingMetrics, counted, timed
from serving.recall import FetchImage, RecallService
from serving.recommend import Recommender
from serving.reference import add_reference
from serving.replies import RecallReply, RecommendReply
from serving.requests import RankRequest, RecallRequest, RecommendRequest
from serving.state import State
from serving.workers import Workers

DESCRIPTION = """
Candidates for a text, an image, a clip, a sound, an item, a user or a history; recommendations;
items that cannot wait.

Bodies are JSON, with `content-type: application/json`. Every error has one form, `ErrorReply`: a
type for programs, and a sentence for people that says what to do.
"""
MAX_BODY_BYTES = MAX_BASE64_CHARS + clips.MAX_BASE64_CHARS + audio.MAX_BASE64_CHARS + 4 * 2**20
"""An image, a clip, a sound, and the longest text and filter."""
BODY_TIMEOUT_S = 10.0
QUERY_THREADS = 40
RANKING_THREADS = 4  # to rank takes a processor, and more at once would only be slower


def create_app(
    recall: Recall,
    recommender: Recommender | None = None,
    *,
    catalogue: Catalogue | None = None,
    state: State | None = None,
    items: ItemLookup | None = None,
    fetch_image: FetchImage | None = None,
    writer: ItemWriter | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    body_timeout_s: float = BODY_TIMEOUT_S,
    wait_s: float = 5.0,
    keys: Mapping[str, ApiKey] | None = None,
    drain: Drain | None = None,
    is_followed: bool = False,
    validation: LiveValidation | None = None,
) -> FastAPI:
    """Build an app that answers from `recall`.

    Args:
        recall: open for as long as the app runs; the caller closes its index.
        recommender: over the same recall; without it there is no /v1/recommend and no
            /v1/rank.
        catalogue: the items and users to look at; with `state`, for the console, which is left
            out without them.
        state: versions, freshness and drift.
        items: says what candidates are; without it requests for details are refused.
        writer: lands items that are put and deleted; without it there are no such routes.
        fetch_image: the image behind an address in a query; without it they are refused.
        max_body_bytes: the largest request, in bytes; above it the answer is 413.
        body_timeout_s: seconds for a request to come whole; after them the answer is 408.
        wait_s: seconds that a request waits for a thread; after them the answer is 429.
        keys: API keys by name; None: whoever reaches the service may ask everything.
        drain: begun when the service is told to stop.
        is_followed: whether recall follows the live version; metrics then tell of it.
        validation: of the live version; metrics then tell what it found.
    """
    drain = drain or Drain()
    app = FastAPI(
        title="Ponder", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None
    )
    app.add_middleware(Faults)  # the first one added is the last to see a request
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes, timeout_s=body_timeout_s, drain=drain)
    if keys:
        app.add_middleware(KeyCheck, keys=keys)
    app.add_middleware(DrainGate, drain=drain)
    app.add_middleware(AccessLog)
    add_error_handlers(app)
    metrics = ServingMetrics()
    queries = Workers(QUERY_THREADS, wait_s=wait_s)
    service = RecallService(recall, items=items, fetch_image=fetch_image)
    answering = Answering(service, queries, metrics, wait_s=wait_s)
    _add_recall(app, answering)
    add_batches(app, answering)
    if recommender is not None:
        ranking = Workers(RANKING_THREADS, wait_s=wait_s)
        _add_recommend(app, recommender, metrics, ranking)
        metrics.gauge(
            "rankings_waiting", "Wait for one of the ranker's threads.", lambda: ranking.num_waiting
        )
    if catalogue is not None and state is not None:
        add_browsing(app, catalogue, state, wait_s=wait_s)
        add_console(app)
    if writer is not None:
        add_item_changes(app, writer, wait_s=wait_s)
    add_reference(app)
    add_health(app, recall, metrics, is_draining=lambda: drain.has_begun, wait_s=wait_s)
    metrics.gauge("requests_waiting", "Wait for a thread.", lambda: answering.num_waiting)
    metrics.gauge("requests_running", "Have a thread.", lambda: queries.num_running)
    if is_followed:
        metrics.watch(recall)
    if validation is not None:
        metrics.registry.register(validation)
    return app


def _add_recall(app: FastAPI, answering: Answering) -> None:
    @app.post("/v1/recall", responses={200: RECALL_REPLY, **error_replies(404, *QUERY_ERRORS)})
    async def post_recall(
        request: Annotated[RecallRequest, Body(openapi_examples=RECALL_REQUESTS)],
        response: Response,
    ) -> RecallReply:
        """Find candidates for one query."""
        reply = await answering.answer(request)
        response.headers[VERSION_HEADER] = quote(reply.version)
        return reply


def _add_recommend(
    app: FastAPI, recommender: Recommender, metrics: ServingMetrics, workers: Workers
) -> None:
    @app.post("/v1/recommend", responses=error_replies(404, 409, *QUERY_ERRORS))
    async def post_recommend(
        request: Annotated[RecommendRequest, Body(openapi_examples=RECOMMEND_REQUESTS)],
    ) -> RecommendReply:
        """Recommend items to a user or for a history, in the ranker's order.

        409 when the ranker was trained on other features or on another version than the live one,
        503 when none was trained.
        """
        stages = Stages()
        deadline = stages.deadline(request.deadline_ms)
        with counted(metrics.recommend_answers), timed(metrics.recommend_seconds):
            found = await workers.run(
                lambda: recommender.recommend(
                    request.asker,
                    top_k=request.top_k,
                    filter=request.filter,
                    strict=request.strict,
                    code_levels=request.code_levels,
                    explain=request.explain,
                    deadline=deadline,
                    stages=stages,
                ),
                deadline=deadline,
                stages=stages,
            )
        return RecommendReply.of(found)

    @app.post("/v1/rank", responses=error_replies(409, *QUERY_ERRORS))
    async def post_rank(
        request: Annotated[RankRequest, Body(openapi_examples=RANK_REQUESTS)],
    ) -> RecommendReply:
        """Put given items in the order in which they suit a user or a history.

        None is left out: one that is not known is ranked by what little is known of it. 409 and 503
        as of /v1/recommend.
        """
        stages = Stages()
        deadline = stages.deadline(request.deadline_ms)
        with counted(metrics.rank_answers), timed(metrics.rank_seconds):
            found = await workers.run(
                lambda: recommender.rank(
                    request.asker,
                    request.item_ids,
                    explain=request.explain,
                    deadline=deadline,
                    stages=stages,
                ),
                deadline=deadline,
                stages=stages,
            )
        return RecommendReply.of(found)
