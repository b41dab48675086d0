"""What the service answers."""

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

from embedder.content import Action

if TYPE_CHECKING:  # the client reads these replies without an index or a ranker
    from recall.search import Candidates
    from serving.recommend import Recommendations


class Candidate(BaseModel):
    """One item found."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: str
    """Id of the item."""

    score: float
    """Cosine, in [-1, 1]."""

    rank: int
    """1 = best."""


class RecallReply(BaseModel):
    """The items found, best first, and how."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: str
    """Model version that answered; scores of two versions must not be compared."""

    candidates: list[Candidate]
    """Best first; equal scores in order of item_id."""

    action: Action | None
    """What the gate chose; null when no model had to read the query."""

    rationale: str
    """What the model reasoned; empty when it did not."""

    fallback: str
    """Why there was no reasoning although there should have been; else empty."""

    took_ms: float
    """Milliseconds from the query to the candidates."""

    @classmethod
    def of(cls, candidates: "Candidates") -> Self:
        """Return the reply that carries these candidates."""
        rows = candidates.frame.select("item_id", "recall_score", "recall_rank").iter_rows()
        return cls(
            version=candidates.version,
            candidates=[Candidate(item_id=i, score=s, rank=r) for i, s, r in rows],
            action=candidates.action,
            rationale=candidates.rationale,
            fallback=candidates.fallback,
            took_ms=candidates.took_ms,
        )


class Recommendation(BaseModel):
    """One item recommended."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: str
    """Id of the item."""

    score: float
    """The ranker's; larger is better, comparable within one reply only."""

    recall_score: float
    """Cosine of the item and the user's profile, in [-1, 1]."""

    rank: int
    """1 = best."""


class RecommendReply(BaseModel):
    """The items recommended, best first."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: str
    """Model version whose vectors were compared."""

    candidates: list[Recommendation]
    """In the ranker's order; equal scores in order of item_id."""

    took_ms: float
    """Milliseconds, recall and ranking together."""

    @classmethod
    def of(cls, recommendations: "Recommendations") -> Self:
        """Return the reply that carries these recommendations."""
        rows = recommendations.frame.iter_rows(named=True)
        return cls(
            version=recommendations.version,
            candidates=[Recommendation(**row) for row in rows],
            took_ms=recommendations.took_ms,
        )
