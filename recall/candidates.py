"""What is asked of recall beside the query itself, and what it answers."""

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from embedder.content import Action, Policy
from recall.errors import InvalidQuery
from recall.filters import Filter

MAX_TOP_K = 1_000
MAX_INTERESTS = 8
NO_FILTER = Filter()

Seen = Literal["none", "liked", "acted", "shown"]
"""Which items of a user are left out: none, those that they liked, those that they acted upon in
any way, or those that they were shown as well."""

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
"""How a candidate was found."""

CANDIDATES: dict[str, pl.DataType | type[pl.DataType]] = {
    "item_id": pl.String,
    "recall_score": pl.Float32,  # cosine, in [-1, 1]; null where there was no vector to compare
    "recall_rank": pl.UInt32,  # 1 = best
    "channels": pl.List(pl.String),  # of `Channel`
    "fused_score": pl.Float64,  # of hybrid search, > 0; null elsewhere
    "interest": pl.String,  # item that stands for the interest, or that it was liked together with
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RecallOptions:
    """How a query is to be answered."""

    top_k: int = 100
    """Candidates wanted, in [1, 1000]. Fewer come only when fewer items match."""

    filter: Filter = NO_FILTER
    """What an item must meet."""

    version: str | None = None
    """Model version that answers; None: the live one."""

    exclude_seen: Seen = "acted"
    """Of a user, or of a history, whose items all count as liked."""

    max_interests: int = 1
    """Searches that a history is made into: 1 searches by its recency-weighted mean, more by the
    medoids of its interests, in [1, 8]."""

    code_levels: int | None = None
    """Items are looked for only among those whose first so many codes are those of the item, or of
    items of the history, >= 1; None: among all."""

    strict: bool = False
    """A user without a usable history is an error, and not answered with what is popular."""

    needs_vector: bool = True
    """What is popular and fresh must be in the version; else it need only be in the catalogue."""

    mmr_lambda: float | None = None
    """Weight of relevance against diversity, in [0, 1]; None leaves the order as it is."""

    max_similarity: float | None = None
    """Candidates are left out whose cosine with a better one is so large, in (0, 1], or that show
    the same image; None leaves none out."""

    hybrid: bool = False
    """Fuse what a text finds by its meaning with what it finds by its words."""

    policy: Policy = "auto"
    """Whether a text or image is reasoned about: the gate's choice, always or never."""

    max_new_tokens: int | None = None
    """Of a rationale, >= 1; None: as many as the version allows."""

    deadline_s: float | None = None
    """Reasoning that is not done so many seconds after the query came gives way to the direct
    vector; None waits for it."""

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise InvalidQuery(f"top_k must be in [1, {MAX_TOP_K}], got {self.top_k}")
        if not 1 <= self.max_interests <= MAX_INTERESTS:
            raise InvalidQuery(
                f"max_interests must be in [1, {MAX_INTERESTS}], got {self.max_interests}"
            )
        if self.code_levels is not None and self.code_levels < 1:
            raise InvalidQuery(f"code_levels must be >= 1, got {self.code_levels}")
        if self.mmr_lambda is not None and not 0 <= self.mmr_lambda <= 1:
            raise InvalidQuery(f"mmr_lambda must be in [0, 1], got {self.mmr_lambda}")
        if self.max_similarity is not None and not 0 < self.max_similarity <= 1:
            raise InvalidQuery(f"max_similarity must be in (0, 1], got {self.max_similarity}")

    @property
    def diversifies(self) -> bool:
        """Whether candidates are compared with each other."""
        return self.mmr_lambda is not None or self.max_similarity is not None


@dataclass(frozen=True, slots=True)
class FoundInterest:
    """An interest that a history was searched by."""

    item_id: str
    """The item that stands for it."""

    weight: float
    """Its share of the history, in (0, 1]."""

    size: int
    """Items of the history in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """What recall answers, and how it came about."""

    frame: pl.DataFrame
    """In the columns of `CANDIDATES`, best first. By cosine or by `fused_score`, equal ones in
    order of item_id; in another order only where interests take turns or where `mmr_lambda` or the
    fallback put them so."""

    version: str
    """Model version of every vector involved."""

    index_kind: str
    """What was searched, e.g. `milvus_hnsw`."""

    consistency: str
    """How far behind its writers the index may be, in the words of `docs/serving.md`."""

    action: Action | None = None
    """What the gate chose for the query; None when no model had to read it."""

    gate_probability: float | None = None
    """Of reasoning, in [0, 1]; None when no model had to read the query."""

    rationale: str = ""
    """What the model reasoned; empty when it did not."""

    direct_because: str = ""
    """Why the query was not reasoned about although it should have been; else empty."""

    is_cut_short: bool = False
    """Whether that was the deadline's doing."""

    fallback: str = ""
    """Why these are popular and fresh items instead of a user's own; else empty."""

    interests: tuple[FoundInterest, ...] = ()
    """Of a history that was searched by several, the heaviest first."""

    hints: tuple[str, ...] = ()
    """What may be wrong with the query although it can be answered."""

    timings_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage, in order."""

    took_ms: float = 0.0
    """From the query to the candidates."""
