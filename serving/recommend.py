"""Recommendations: candidates of several channels, put in order by the ranker."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import polars as pl

from recall.candidates import NO_FILTER, Candidates, RecallOptions
from recall.client import within
from recall.errors import OutOfTime
from recall.filters import Filter
from recall.search import Recall
from recall.stages import Stages
from serving.rank import Asker, Ranking

NUM_CANDIDATES = 200
"""Of the history: what lies near its interests."""

NUM_INTERESTS = 3
NUM_POPULAR = 50
"""Popular and fresh items beside them, so that not everything is more of the same."""

RECOMMENDED: dict[str, pl.DataType | type[pl.DataType]] = {
    "item_id": pl.String,
    "score": pl.Float64,
    "recall_score": pl.Float32,
    "rank": pl.UInt32,
    "channels": pl.List(pl.String),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendations:
    """What is recommended."""

    frame: pl.DataFrame
    """Best first: item_id str; score f64, the ranker's; recall_score f32, cosine in [-1, 1], null
    of what was found otherwise; rank u32 from 1, equal scores in order of item_id; channels
    list[str], how it was found, as of `recall.candidates.Channel`."""

    reasons: list[dict[str, float]]
    """As of `serving.rank.Ranked`."""

    version: str
    """Model version of every vector involved."""

    fallback: str
    """Why only popular and fresh items were candidates; else empty."""

    timings_ms: dict[str, float]
    """Milliseconds by stage, in order."""

    took_ms: float


class Recommender:
    """Recall and ranking together; safe to call from several threads."""

    def __init__(self, recall: Recall, ranking: Ranking) -> None:
        """Recommend what `recall` finds in the order of `ranking`."""
        self._recall, self._ranking = recall, ranking

    def recommend(
        self,
        asker: Asker,
        *,
        top_k: int = 20,
        filter: Filter = NO_FILTER,
        strict: bool = False,
        explain: bool = False,
        deadline: float | None = None,
        stages: Stages | None = None,
    ) -> Recommendations:
        """Return the items that suit somebody best, those they liked already left out.

        Args:
            asker: whom to recommend to.
            top_k: items wanted, in [1, 1000]; chosen among 200 candidates of the history, or among
                as many as are wanted, and 50 that are popular or fresh.
            filter: what an item must meet.
            strict: a user without a usable history is an error, and not answered with what is
                popular and fresh.
            explain: whether to say which features moved each score.
            deadline: a moment of `time.monotonic` after which nobody waits; None: no end.
            stages: a stopwatch that runs since the request came; None: it came now.

        Raises:
            NotFound: with `strict`, nothing is known of the history.
            InvalidQuery: `top_k` is out of range.
            OutOfTime: the deadline passed.
            RankerMismatch: the ranker fits other features, or another version than the live one.
            Unavailable: no version is live, or no ranker of it is in use.
        """
        stages = stages or Stages()
        with _until(deadline):
            own = self._own(asker, max(top_k, NUM_CANDIDATES), filter, strict, stages)
            others = [] if own.fallback else [self._popular(own.version, filter, stages)]
        pool = _pool(own.frame, others)
        _check(deadline)
        ranked = self._ranking.rank(
            asker,
            pool["item_id"].to_list(),
            own.version,
            new_only=True,
            explain=explain,
            stages=stages,
        )
        return Recommendations(
            frame=ranked.frame.head(top_k)
            .join(pool, on="item_id", how="left", maintain_order="left")
            .select(pl.col(name).cast(dtype) for name, dtype in RECOMMENDED.items()),
            reasons=ranked.reasons[:top_k],
            version=own.version,
            fallback=own.fallback,
            timings_ms=stages.timings_ms,
            took_ms=stages.took_ms,
        )

    def rank(
        self,
        asker: Asker,
        item_ids: Sequence[str],
        *,
        explain: bool = False,
        deadline: float | None = None,
        stages: Stages | None = None,
    ) -> Recommendations:
        """Put given items in the order in which they suit somebody, none left out.

        Raises:
            OutOfTime, RankerMismatch, Unavailable: as of `recommend`.
        """
        stages = stages or Stages()
        with _until(deadline), stages.time("version"):
            version = self._recall.live_version()
        _check(deadline)
        ranked = self._ranking.rank(asker, item_ids, version, explain=explain, stages=stages)
        return Recommendations(
            frame=ranked.frame.with_columns(
                recall_score=None, channels=pl.lit([], pl.List(pl.String))
            ).select(pl.col(name).cast(dtype) for name, dtype in RECOMMENDED.items()),
            reasons=ranked.reasons,
            version=version,
            fallback="",
            timings_ms=stages.timings_ms,
            took_ms=stages.took_ms,
        )

    def _own(
        self, asker: Asker, top_k: int, filter: Filter, strict: bool, stages: Stages
    ) -> Candidates:
        options = RecallOptions(
            top_k=top_k,
            filter=filter,
            exclude_seen="liked",
            strict=strict,
            max_interests=NUM_INTERESTS,
        )
        if asker.history:
            return self._recall.by_history(asker.history, options, stages)
        return self._recall.by_user(asker.user_id, options, stages)

    def _popular(self, version: str, filter: Filter, stages: Stages) -> pl.DataFrame:
        options = RecallOptions(top_k=NUM_POPULAR, filter=filter, version=version)
        return self._recall.by_history([], options, stages).frame


def _until(deadline: float | None) -> AbstractContextManager[None]:
    """Let all that the index is asked end before the deadline."""
    return nullcontext() if deadline is None else within(deadline - time.monotonic())


def _check(deadline: float | None) -> None:
    """Begin no ranking that nobody waits for."""
    if deadline is not None and deadline <= time.monotonic():
        raise OutOfTime("the deadline passed before the candidates were ranked")


def _pool(own: pl.DataFrame, others: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return item_id, recall_score and channels of every candidate, once; channels are joined."""
    frames = [frame.select("item_id", "recall_score", "channels") for frame in (own, *others)]
    every = pl.concat(frames)
    channels = every.explode("channels", empty_as_null=False).group_by("item_id")
    return (
        every.group_by("item_id", maintain_order=True)
        .agg(pl.col("recall_score").max())
        .join(channels.agg(pl.col("channels").unique().sort()), on="item_id", how="left")
    )
