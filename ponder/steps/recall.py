"""Ask the live version once, without a service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from catalog.lake.tables import ITEMS
from ponder.settings import Settings
from ponder.wiring.encoder import open_encoder
from ponder.wiring.service import open_recall
from ponder.wiring.stores import open_index, open_lake


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
    """The items found, best first, and how; `serving.replies.RecallReply` with titles."""

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
    from serving.recall import answer
    from serving.replies import RecallReply
    from serving.requests import RecallRequest

    asked = RecallRequest.model_validate(request)
    if asked.kind == "content":
        open_encoder(settings)  # so that `took_ms` is the query's time and not the model's loading
    with open_index(settings) as milvus:
        reply = RecallReply.of(answer(open_recall(settings, milvus), asked))
    titles = titles_of(settings, [candidate.item_id for candidate in reply.candidates])
    return RecallAnswer(
        version=reply.version,
        candidates=tuple(
            TitledCandidate(
                item_id=found.item_id,
                score=found.score,
                rank=found.rank,
                title=titles.get(found.item_id, ""),
            )
            for found in reply.candidates
        ),
        action=reply.action,
        rationale=reply.rationale,
        fallback=reply.fallback,
        took_ms=reply.took_ms,
    )


def titles_of(settings: Settings, item_ids: Sequence[str]) -> dict[str, str]:
    """Return the titles of items as a person reads them; empty for an item without one."""
    found = open_lake(settings).scan(ITEMS).filter(pl.col("item_id").is_in(item_ids)).collect()
    return dict(zip(found["item_id"], found["title"].fill_null(""), strict=True))
