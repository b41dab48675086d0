"""Recommendations: candidates of several channels, put in order by the ranker."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from recall.candidates import NO_FILTER, Candidates, RecallOptions
from recall.errors import NotFound, OutOfTime, Unavailable
from recall.filters import Filter
from recall.search import Recall
from recall.stages import Stages
from serving.deadlines import until
from serving.rank import Asker, Ranking

NUM_CANDIDATES = 200
"""Near the interests of the history, and as many again that were liked together with it."""

NUM_INTERESTS = 3
NUM_POPULAR = 50
"""Popular and fresh items beside them, so that not everything is more of the same."""

RECOMMENDED: dict[str, pl.DataType | type[pl.DataType]] = {
    "item_id": pl.String,
    "score": pl.Float64,
    "recall_score": pl.Float32,
    "rank": pl.UInt32,
    "channels": pl.List(pl.String),
    "because": pl.String,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendations:
    """What is recommended."""

    frame: pl.DataFrame
    """Best first: item_id str; score f64, the ranker's; recall_score f32, cosine in [-1, 1], null
    of what was found otherwise; rank u32 from 1, equal scores in order of item_id; channels
    list[str], how it was found, as of `recall.candidates.Channel`; because str, the item of the
    history that brought it in, where `explain` asked for it."""

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

    def __init__(
        self,
        recall: Recall,
        ranking: Ranking,
        *,
        unindexed_version: Callable[[], str] | None = None,
    ) -> None:
        """Recommend what `recall` finds in the order of `ranking`.

        Args:
            recall: finds the candidates.
            ranking: orders them.
            unindexed_version: names the version whose ranker is asked while none is live, as in a
                catalogue of which nothing can be embedded; None: nothing is recommended then.
        """
        self._recall, self._ranking = recall, ranking
        self._unindexed_version = unindexed_version

    def recommend(
        self,
        asker: Asker,
        *,
        top_k: int = 20,
        filter: Filter = NO_FILTER,
        strict: bool = False,
        code_levels: int | None = None,
        explain: bool = False,
        deadline: float | None = None,
        stages: Stages | None = None,
    ) -> Recommendations:
        """Return the items that suit somebody best, those they liked already left out.

        Args:
            asker: whom to recommend to.
            top_k: items wanted, in [1, 1000]; chosen among 200 that are near the history, or as
                many as are wanted, 200 that were liked together with it, and 50 that are popular or
                fresh.
            filter: what an item must meet.
            strict: a user without a usable history is an error, and not answered with what is
                popular and fresh.
            code_levels: choose also among 200 items whose first so many codes are those of an item
                of the history; None: only among the others.
            explain: whether to say which features moved each score, and what of the history
                brought each item in.
            deadline: a moment of `time.monotonic` after which nobody waits; None: no end.
            stages: a stopwatch that runs since the request came; None: it came now.

        Raises:
            NotFound: with `strict`, nothing is known of the history.
            InvalidQuery: `top_k` or `code_levels` is out of range.
            OutOfTime: the deadline passed.
            RankerMismatch: the ranker fits other features, or another version than the live one.
            Unavailable: no version is live, no ranker of it is in use, or it has no codes.
        """
        stages = stages or Stages()
        with until(deadline):
            version, pool, fallback = self._pool(
                *(asker, top_k, filter, stages),
                strict=strict,
                explain=explain,
                code_levels=code_levels,
            )
        if not explain:
            pool = pool.with_columns(because=pl.lit(None, pl.String))
        _check(deadline)
        ranked = self._ranking.rank(
            asker,
            pool["item_id"].to_list(),
            version,
            new_only=True,
            explain=explain,
            num_shown=top_k,
            stages=stages,
        )
        return Recommendations(
            frame=ranked.frame.head(top_k)
            .join(pool, on="item_id", how="left", maintain_order="left")
            .select(pl.col(name).cast(dtype) for name, dtype in RECOMMENDED.items()),
            reasons=ranked.reasons[:top_k],
            version=version,
            fallback=fallback,
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
        _check(deadline)
        with until(deadline):
            version, _ = self._version(stages)
        ranked = self._ranking.rank(asker, item_ids, version, explain=explain, stages=stages)
        return Recommendations(
            frame=ranked.frame.with_columns(
                recall_score=None, channels=pl.lit([], pl.List(pl.String)), because=None
            ).select(pl.col(name).cast(dtype) for name, dtype in RECOMMENDED.items()),
            reasons=ranked.reasons,
            version=version,
            fallback="",
            timings_ms=stages.timings_ms,
            took_ms=stages.took_ms,
        )

    def _version(self, stages: Stages) -> tuple[str, bool]:
        """Return the version whose ranker answers, and whether its index does too."""
        with stages.time("version"):
            try:
                return self._recall.live.get(), True
            except Unavailable:
                if self._unindexed_version is None:
                    raise
                version = self._unindexed_version()
                if not self._ranking.can_rank(version):
                    raise
                return version, False

    def _pool(
        self,
        asker: Asker,
        top_k: int,
        filter: Filter,
        stages: Stages,
        *,
        strict: bool,
        explain: bool,
        code_levels: int | None,
    ) -> tuple[str, pl.DataFrame, str]:
        """Return the version that answers, the candidates of all channels, and the fallback."""
        version, is_live = self._version(stages)
        options = RecallOptions(
            top_k=max(top_k, NUM_CANDIDATES),
            filter=filter,
            version=version,
            exclude_seen="liked",
            max_interests=NUM_INTERESTS,
            needs_vector=False,
        )
        with stages.time("history"):
            liked = list(asker.history) or self._recall.liked_by(asker.user_id)
        some = replace(options, top_k=NUM_CANDIDATES)
        together = self._recall.liked_together(liked, some, stages, explain=explain)
        options = replace(options, strict=strict and together.is_empty())
        if is_live:
            own = self._near(asker, options, stages)
            near, fallback = [own.frame], own.fallback
            if code_levels is not None and not fallback:
                alike = replace(some, code_levels=code_levels)
                near.append(self._near(asker, alike, stages).frame)
        else:
            near, fallback = [], self._nothing_near(asker, options)
        if not near or not fallback:
            few = options if fallback else replace(options, top_k=NUM_POPULAR)
            near.append(self._recall.popular(few, left_out=liked, stages=stages))
        return version, _pool([*near, together]), fallback if together.is_empty() else ""

    def _near(self, asker: Asker, options: RecallOptions, stages: Stages) -> Candidates:
        if asker.history:
            return self._recall.by_history(asker.history, options, stages)
        return self._recall.by_user(asker.user_id, options, stages)

    def _nothing_near(self, asker: Asker, options: RecallOptions) -> str:
        whose = "the history" if asker.history else f"user {asker.user_id!r}"
        if options.strict:
            raise NotFound(f"nothing is liked together with what {whose} liked; ask without strict")
        return f"no version is live to compare with {whose}; these are popular and fresh items"


def _check(deadline: float | None) -> None:
    """Begin no ranking that nobody waits for."""
    if deadline is not None and deadline <= time.monotonic():
        raise OutOfTime("the deadline passed before the candidates were ranked")


def _pool(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return item_id, recall_score, channels and because of every candidate, once.

    Of one that several channels found the channels are joined, and the first's item of the history
    is its reason.
    """
    columns = ["item_id", "recall_score", "channels", "interest"]
    every = pl.concat([frame.select(columns) for frame in frames])
    channels = every.explode("channels", empty_as_null=False).group_by("item_id")
    return (
        every.group_by("item_id", maintain_order=True)
        .agg(pl.col("recall_score").max(), because=pl.col("interest").drop_nulls().first())
        .join(channels.agg(pl.col("channels").unique().sort()), on="item_id", how="left")
    )
