"""Recommend to one user, without a service."""

from dataclasses import dataclass

from ponder.settings import Settings
from ponder.steps.recall import titles_of
from ponder.wiring.service import open_recall, open_recommender
from ponder.wiring.stores import open_search


@dataclass(frozen=True, kw_only=True, slots=True)
class TitledRecommendation:
    """One item recommended, as a person reads it."""

    item_id: str

    score: float
    """The ranker's; larger is better, comparable within one answer only."""

    recall_score: float
    """Cosine of the item and the user's profile, in [-1, 1]."""

    rank: int
    """1 = best."""

    title: str
    """Untrusted; empty for an item without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecommendAnswer:
    """The items recommended, best first; `serving.replies.RecommendReply` with titles."""

    version: str
    """Model version whose vectors were compared."""

    candidates: tuple[TitledRecommendation, ...]
    took_ms: float


def recommend(settings: Settings, user_id: str, *, top_k: int = 20) -> RecommendAnswer:
    """Return what the service would recommend to a user, with titles.

    Raises:
        ValueError: `top_k` is out of range.
        LookupError: the user has no history that the live version knows.
        RuntimeError: no version is live, no ranker is trained, or the ranker fits other features
            or another version than the live one.
    """
    with open_search(settings) as index:
        recommender = open_recommender(settings, open_recall(settings, index))
        found = recommender.recommend(user_id, top_k=top_k)
    titles = titles_of(settings, found.frame["item_id"].to_list())
    return RecommendAnswer(
        version=found.version,
        candidates=tuple(
            TitledRecommendation(**row, title=titles.get(row["item_id"], ""))
            for row in found.frame.iter_rows(named=True)
        ),
        took_ms=found.took_ms,
    )
