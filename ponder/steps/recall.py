"""Ask the live version once, without a service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from catalog.lake.tables import ITEMS
from ponder.settings import Settings
from ponder.wiring import open_encoder, open_index, open_lake, open_recall


@dataclass(frozen=True, kw_only=True, slots=True)
class TitledCandidate:
    """One item found, as a person reads it."""

    item_id: str

    score: float
    """Cosine, in [-1, 1]."""

    rank: int
    """1 = best."""

    title: str
    """Untrusted; empty for an item without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecallAnswer:
    """The items found, best first, and how; `serving.requests.RecallReply` with titles."""

    version: str
    """Model version that answered."""

    candidates: tuple[TitledCandidate, ...]

    action: str | None
    """What the gate chose; None when no model had to read the query."""

    rationale: str

    fallback: str
    """Why there was no reasoning although there should have been; else empty."""

    took_ms: float


def recall(settings: Settings, request: Mapping[str, Any]) -> RecallAnswer:
    """Return what the live version answers to a request of the recall service, with titles.

    Raises:
        ValueError: the request is not one; see `serving.requests.RecallRequest`.
        LookupError: the item or user is not known.
        RuntimeError: no version is live, or another one than the configured model's.
    """
    from serving.requests import RecallReply, RecallRequest
    from serving.service import answer

    asked = RecallRequest.model_validate(request)
    if asked.kind == "content":
        open_encoder(settings)  # so that `took_ms` is the query's time and not the model's loading
    with open_index(settings) as milvus:
        reply = RecallReply.of(answer(open_recall(settings, milvus), asked))
    titles = _titles(settings, [candidate.item_id for candidate in reply.candidates])
    return RecallAnswer(
        version=reply.version,
        candidates=tuple(
            TitledCandidate(
                item_id=found.item_id,
                score=found.score,
                rank=found.rank,
                title=titles.get(found.item_id) or "",
            )
            for found in reply.candidates
        ),
        action=reply.action,
        rationale=reply.rationale,
        fallback=reply.fallback,
        took_ms=reply.took_ms,
    )


def _titles(settings: Settings, item_ids: list[str]) -> dict[str, str | None]:
    found = open_lake(settings).scan(ITEMS).filter(pl.col("item_id").is_in(item_ids)).collect()
    return dict(zip(found["item_id"], found["title"], strict=True))
