"""Recommend to one user, without a service."""

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.lake.item_lookup import ItemLookup
from ponder.settings import Settings
from ponder.steps.recall import titles_of
from ponder.wiring.service import open_counts, open_live_log, open_recall, open_recommender
from ponder.wiring.stores import open_lake, open_living_search


@dataclass(frozen=True, kw_only=True, slots=True)
class TitledRecommendation:
    """One item recommended, as a person reads it."""

    item_id: str

    score: float
    """The ranker's; larger is better, comparable within one answer only."""

    recall_score: float | None
    """Cosine of the item and the user's nearest interest, in [-1, 1]; None of what was found
    otherwise."""

    rank: int
    """1 = best."""

    channels: tuple[str, ...]
    """How it was found: interest, codes, collaborative, popular, fresh."""

    because: str | None
    """The item of the history that brought it in, where there is one and `explain` asked for it."""

    reasons: Mapping[str, float]
    """The features that moved the score most, with what each added to it; empty unless asked for.
    """

    title: str
    """Untrusted; empty for an item without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecommendAnswer:
    """The items recommended, best first; `serving.replies.RecommendReply` with titles."""

    version: str
    """Model version whose vectors were compared."""

    fallback: str
    """Why only popular and fresh items were candidates; else empty."""

    candidates: tuple[TitledRecommendation, ...]
    took_ms: float


def recommend(
    settings: Settings,
    user_id: str,
    *,
    top_k: int = 20,
    strict: bool = False,
    code_levels: int | None = None,
    explain: bool = False,
) -> RecommendAnswer:
    """Return what the service would recommend to a user, with titles.

    Args:
        settings: the deployment.
        user_id: whom to recommend to.
        top_k: items wanted.
        strict: a user without a usable history is an error.
        code_levels: choose also among items whose first so many codes are those of an item of the
            history; None: only among the others.
        explain: whether to say which features moved each score, and what of the history brought
            each item in.

    Raises:
        ValueError: `top_k` or `code_levels` is out of range.
        LookupError: with `strict`, the user has no history that the live version knows.
        RuntimeError: no version is live, no ranker is trained, or the ranker fits other features
            or another version than the live one.
    """
    from recall.catalogue_store import CatalogueStore
    from serving.rank import Asker

    lake, counts = open_lake(settings), open_counts(settings)
    catalogue = CatalogueStore(lake)
    catalogue.refresh()
    with open_living_search(settings) as index:
        recall = open_recall(
            settings, index, catalogue=catalogue, items=ItemLookup(lake), counts=counts
        )
        recommender = open_recommender(settings, recall, open_live_log(settings, recall, counts))
        found = recommender.recommend(
            Asker(user_id=user_id),
            top_k=top_k,
            strict=strict,
            code_levels=code_levels,
            explain=explain,
        )
    reasons = found.reasons or [{}] * len(found.frame)
    titles = titles_of(settings, found.frame["item_id"].to_list())
    return RecommendAnswer(
        version=found.version,
        fallback=found.fallback,
        candidates=tuple(
            TitledRecommendation(
                **row | {"channels": tuple(row["channels"])},
                reasons=why,
                title=titles.get(row["item_id"], ""),
            )
            for row, why in zip(found.frame.iter_rows(named=True), reasons, strict=True)
        ),
        took_ms=found.took_ms,
    )
