"""Recommendations: candidates of a user's history, put in order by the ranker.

The ranker reads the features that it was trained on, made by the same function as of now, from the
vectors of the version that answered recall.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from features.centred_embeddings import CentredEmbeddings
from features.log import Log
from features.schema import feature_schema, schema_hash
from features.table import build_features
from ranker.model import Ranker
from recall.candidates import NO_FILTER, Candidates, RecallOptions
from recall.errors import Unavailable
from recall.filters import Filter
from recall.search import Recall
from serving.errors import RankerMismatch

NUM_CANDIDATES = 200

RECOMMENDED = {
    "item_id": pl.String,
    "score": pl.Float64,
    "recall_score": pl.Float32,
    "rank": pl.UInt32,
}

LogOf = Callable[[str, str, Sequence[str]], Log]
"""From a model version, a user and items to all that their features are made from: the events of
either, the items among these, and the version's vectors of those items."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendations:
    """What is recommended."""

    frame: pl.DataFrame
    """Best first: item_id str; score f64, the ranker's; recall_score f32, cosine in [-1, 1]; rank
    u32 from 1, equal scores in order of item_id."""

    version: str
    """Model version of every vector involved."""

    took_ms: float


class Recommender:
    """Recall and ranking together; safe to call from several threads."""

    def __init__(
        self,
        recall: Recall,
        ranker_of: Callable[[str], Ranker],
        log_of: LogOf,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Recommend from what `recall` finds.

        Args:
            recall: finds the candidates.
            ranker_of: the ranker in use of an embedder version; called for each request, so it
                should remember the one it has loaded. It raises FileNotFoundError when none was
                promoted, and ValueError when what was saved cannot be used.
            log_of: reads what the features of a request are made from.
            now: the moment that features describe, with a time zone.
        """
        self._recall = recall
        self._ranker_of = ranker_of
        self._log_of = log_of
        self._now = now

    def recommend(
        self, user_id: str, *, top_k: int = 20, filter: Filter = NO_FILTER
    ) -> Recommendations:
        """Return the items that suit a user best, those they liked already left out.

        Args:
            user_id: whom to recommend to.
            top_k: items wanted, in [1, 1000]; chosen among 200 candidates, or among as many as are
                wanted.
            filter: what an item must meet.

        Raises:
            NotFound: the user has no history, or none of it is in the live version.
            InvalidQuery: `top_k` is out of range.
            RankerMismatch: the ranker fits other features, or another version than the live one.
            Unavailable: no version is live, or no ranker is trained.
        """
        started = time.perf_counter()
        options = RecallOptions(
            top_k=max(top_k, NUM_CANDIDATES), filter=filter, exclude_seen="liked", strict=True
        )
        found = self._recall.by_user(user_id, options)
        ranker = self._ranker(found.version)
        try:
            ranker.check(schema_hash(feature_schema()), found.version)
        except ValueError as error:
            raise RankerMismatch(str(error)) from error
        frame = self._ordered(user_id, found, ranker).head(top_k)
        took_ms = 1000 * (time.perf_counter() - started)
        return Recommendations(frame=frame, version=found.version, took_ms=took_ms)

    def _ranker(self, version: str) -> Ranker:
        try:
            return self._ranker_of(version)
        except FileNotFoundError as error:
            raise Unavailable(
                f"no ranker of version {version!r} is in use; run ponder features and ponder "
                "ranker train"
            ) from error
        except ValueError as error:
            raise RankerMismatch(str(error)) from error

    def _ordered(self, user_id: str, found: Candidates, ranker: Ranker) -> pl.DataFrame:
        if found.frame.is_empty():
            return pl.DataFrame(schema=RECOMMENDED)
        log = self._log_of(found.version, user_id, found.frame["item_id"].to_list())
        impressions = found.frame.select(
            "item_id",
            request_id=pl.lit("recommend"),
            user_id=pl.lit(user_id),
            ts=pl.lit(self._now()).cast(log.events.schema["ts"]),
        )
        centred = CentredEmbeddings.of(log.vectors, ranker.centring)
        table = build_features(
            impressions, log.events, log.items, log.vectors, centred=centred, counts=log.counts
        )
        return (
            found.frame.with_columns(score=pl.Series(ranker.predict(table)))
            .sort("score", "item_id", descending=[True, False])
            .with_row_index("rank", offset=1)
            .select(pl.col(name).cast(dtype) for name, dtype in RECOMMENDED.items())
        )
