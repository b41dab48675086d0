"""What the service answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter

from embedder.content import Action
from serving.error_form import ErrorDetail

if TYPE_CHECKING:  # the client reads these replies without an index or a ranker
    from catalog.lake.item_lookup import ItemDetails
    from recall.candidates import Candidates
    from serving.recommend import Recommendations

SCORE_DECIMALS = 6  # a float32 has no more, and would show some that are noise

Channel = Literal[
    "content",
    "item",
    "profile",
    "interest",
    "codes",
    "lexical",
    "collaborative",
    "popular",
    "fresh",
]
"""How a candidate was found; `recall.candidates.Channel`, which is not there for a client."""


class Candidate(BaseModel):
    """One item found."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: str
    """Id of the item."""

    score: float | None
    """Cosine, in [-1, 1]; with several interests that with the nearest of those that found it.
    null in a fallback, where nothing was compared."""

    rank: int
    """1 = best."""

    fused_score: float | None = None
    """Of hybrid search: the sum of 1 / (60 + rank) over both lists; the order goes by it."""

    channels: list[Channel] | None = None
    """With `explain`, how it was found."""

    interest: str | None = None
    """With `explain`, the item that stands for the interest that found it; of `codes` the one whose
    first codes it shares."""

    title: str | None = None
    """With `details`; untrusted, null when it has none."""

    category: str | None = None
    """With `details`; untrusted, null when it has none."""

    image: str | None = None
    """With `details`: path of a small image of it, null when it has none."""

    clip: str | None = None
    """With `details`: path of a small animation of its clip, null when it has none."""

    audio: str | None = None
    """With `details`: path of the start of its sound, null when it has none."""

    image_uri: str | None = None
    """With `details`: where its image came from; untrusted, `media:...` when it came inline."""


_CANDIDATES = TypeAdapter(list[Candidate])
"""Makes a list of them at once, several times as fast as one by one."""


class InterestReply(BaseModel):
    """An interest that a history was searched by."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: str
    """The item that stands for it."""

    weight: float
    """Its share of the history, recent items weighing more, in (0, 1]."""

    size: int
    """Items of the history in it."""


class RecallReply(BaseModel):
    """The items found, best first, and how."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: str
    """Model version that answered; scores of two versions must not be compared."""

    index: str
    """What was searched, e.g. `milvus_hnsw`."""

    consistency: str
    """`strong`: what was written before is found; `bounded`: it may take seconds."""

    candidates: list[Candidate]
    """Best first; equal scores in order of item_id."""

    action: Action | None
    """What the gate chose; null when no model had to read the query."""

    gate_probability: float | None = None
    """With `explain`, the gate's probability of reasoning, in [0, 1]; null when no model had to
    read the query."""

    rationale: str = ""
    """With `explain`, what the model reasoned; empty when it did not."""

    reasoning_fallback: str
    """Why there was no reasoning although there should have been; else empty."""

    cut_short: bool
    """Whether that was because of the deadline."""

    fallback: str
    """Why these are popular and fresh items, and not a user's own; else empty."""

    interests: list[InterestReply] = []
    """With `explain`, what the history was searched by, the heaviest first."""

    hints: list[str]
    """What may be wrong with the query, such as an attribute that no item has."""

    timings: dict[str, float]
    """Milliseconds by stage."""

    took_ms: float
    """Milliseconds from the query to the candidates, all stages together."""

    @classmethod
    def of(
        cls,
        found: "Candidates",
        *,
        explain: bool = False,
        details: "Mapping[str, ItemDetails] | None" = None,
    ) -> Self:
        """Return the reply that carries candidates.

        Args:
            found: what recall answered.
            explain: tell how it came about.
            details: what the candidates are, by id; None leaves it out.
        """
        return cls(
            version=found.version,
            index=found.index_kind,
            consistency=found.consistency,
            candidates=_candidates(found, explain=explain, details=details),
            action=found.action,
            gate_probability=found.gate_probability if explain else None,
            rationale=found.rationale if explain else "",
            reasoning_fallback=found.direct_because,
            cut_short=found.is_cut_short,
            fallback=found.fallback,
            interests=[
                InterestReply(item_id=one.item_id, weight=one.weight, size=one.size)
                for one in found.interests
                if explain
            ],
            hints=list(found.hints),
            timings={stage: round(ms, 3) for stage, ms in found.timings_ms.items()},
            took_ms=round(found.took_ms, 3),
        )


def _candidates(
    found: "Candidates", *, explain: bool, details: "Mapping[str, ItemDetails] | None"
) -> list[Candidate]:
    names = ("item_id", "recall_score", "recall_rank", "fused_score", "channels", "interest")
    rows = zip(*(found.frame[name].to_list() for name in names), strict=True)
    candidates: list[dict[str, object]] = []
    for item_id, score, rank, fused, channels, interest in rows:
        told: dict[str, object] = {
            "item_id": item_id,
            "score": None if score is None else round(score, SCORE_DECIMALS),
            "rank": rank,
            "fused_score": fused,
        }
        if explain:
            told |= {"channels": channels, "interest": interest}
        if details is not None and (item := details.get(item_id)) is not None:
            told |= {
                "title": item.title,
                "category": item.category,
                "image": None if item.image_hash is None else f"/v1/images/{item.image_hash}",
                "clip": None if item.video_hash is None else f"/v1/clips/{item.video_hash}",
                "audio": None if item.audio_hash is None else f"/v1/audio/{item.audio_hash}",
                "image_uri": item.image_uri,
            }
        candidates.append(told)
    return _CANDIDATES.validate_python(candidates)


class BatchAnswer(BaseModel):
    """What became of one query."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    reply: RecallReply | None = None
    """As `POST /v1/recall` gives it; null when there is an error."""

    error: ErrorDetail | None = None
    """Why there is no reply; null when there is one."""


class RecallBatchReply(BaseModel):
    """What became of each query."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    answers: list[BatchAnswer]
    """In the order of the queries. Each names its version: a promotion may come between two."""

    took_ms: float
    """Milliseconds for all of them."""


class ItemChangeReply(BaseModel):
    """What became of an item that was put or deleted."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: str
    """Id of the item."""

    outcome: Literal["inserted", "updated", "deleted", "unchanged", "stale"]
    """What the lake made of it; `stale`: it holds a newer record, which stays."""

    updated_at: datetime
    """When the change was made, by which the newest record of an item is known."""

    searchable: bool
    """Whether searches find the item as it is now, or no longer after a deletion, as soon as the
    index's consistency allows."""

    version: str | None
    """Model version that finds it: the live one. Others find it after the next `ponder index`."""

    message: str
    """Why it is not searchable, and when it will be; empty when it is."""


class Recommendation(BaseModel):
    """One item recommended."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: str
    """Id of the item."""

    score: float
    """The ranker's; larger is better, comparable within one reply only."""

    recall_score: float | None
    """Cosine of the item and the user's nearest interest, in [-1, 1]; null of what was found
    otherwise, or given."""

    rank: int
    """1 = best."""

    channels: list[str] = []
    """How it was found: interest, codes, collaborative, popular, fresh; empty of what was given."""

    because: str | None = None
    """With `explain`, the item of the history that brought it in: what it was liked together with
    most, or what stands for the interest that it is near; null of what was found otherwise."""

    reasons: dict[str, float] | None = None
    """The features that moved the score most, with what each added to it; null unless asked for."""


class RecommendReply(BaseModel):
    """The items recommended, best first."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: str
    """Model version whose vectors were compared."""

    fallback: str = ""
    """Why only popular and fresh items were candidates; else empty."""

    candidates: list[Recommendation]
    """In the ranker's order; equal scores in order of item_id."""

    timings: dict[str, float] = {}
    """Milliseconds by stage."""

    took_ms: float
    """Milliseconds from the request to the order, all stages together."""

    @classmethod
    def of(cls, recommendations: "Recommendations") -> Self:
        """Return the reply that carries these recommendations."""
        rows = recommendations.frame.iter_rows(named=True)
        reasons: Sequence[dict[str, float] | None] = recommendations.reasons
        reasons = reasons or [None] * len(recommendations.frame)
        return cls(
            version=recommendations.version,
            fallback=recommendations.fallback,
            candidates=[
                Recommendation(**row, reasons=why) for row, why in zip(rows, reasons, strict=True)
            ],
            timings={stage: round(ms, 3) for stage, ms in recommendations.timings_ms.items()},
            took_ms=round(recommendations.took_ms, 3),
        )
