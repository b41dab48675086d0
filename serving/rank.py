"""Candidates put in order for a user or a history, by the ranker of the version that is live.

The ranker reads the features that it was trained on, made by the same function as of now, from the
vectors of that version.

Shape legend: N = candidates, F = features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from features.centred_embeddings import CentredEmbeddings
from features.histories import liked_items
from features.log import Log
from features.table import FeatureConfig, build_features
from ranker.model import Ranker
from recall.errors import Unavailable
from recall.stages import Stages
from serving.errors import RankerMismatch

NUM_REASONS = 5
"""Features that an explanation names."""

STRANGER = ""
"""Whose history it is when only items are given; no user has an empty id."""

LogOf = Callable[[str, str, Sequence[str]], Log]
"""From a model version, a user and items to all that their features are made from: the events of
either, the items among these, and the version's vectors of those items."""

RANKED = {
    "item_id": pl.String,
    "score": pl.Float64,
    "rank": pl.UInt32,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asker:
    """For whom something is ranked: a user, or a history."""

    user_id: str = STRANGER

    history: tuple[str, ...] = ()
    """Liked items, newest first, of somebody who is no user; a minute between each two."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Candidates in order."""

    frame: pl.DataFrame
    """Best first: item_id str; score f64, the ranker's; rank u32 from 1; equal scores in order of
    item_id."""

    reasons: list[dict[str, float]]
    """Of each row, when asked for: the features that moved its score most, up or down, with what
    each added to it; largest first."""


class Ranking:
    """Ranks candidates; safe to call from several threads."""

    def __init__(
        self,
        ranker_of: Callable[[str], Ranker],
        log_of: LogOf,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Rank by the ranker in use.

        Args:
            ranker_of: the ranker in use of an embedder version; called for each request, so it
                should remember the one it has loaded. It raises FileNotFoundError when none was
                promoted, and ValueError when what was saved cannot be used.
            log_of: reads what the features of a request are made from.
            now: the moment that features describe, with a time zone.
        """
        self._ranker_of, self._log_of, self._now = ranker_of, log_of, now

    def rank(
        self,
        asker: Asker,
        item_ids: Sequence[str],
        version: str,
        *,
        new_only: bool = False,
        explain: bool = False,
        stages: Stages | None = None,
    ) -> Ranked:
        """Put items in the ranker's order.

        Args:
            asker: for whom.
            item_ids: unique, in any order, which says nothing.
            version: model version whose vectors are compared.
            new_only: leave out what the asker has liked, before anything is ranked: features say
                how an item stands among the others.
            explain: whether to say which features moved each score.
            stages: a stopwatch that is told of reading the log, making features and ranking.

        Raises:
            RankerMismatch: the ranker fits other features, or cannot be used.
            Unavailable: no ranker of the version is in use.
        """
        stages = stages or Stages()
        ranker = self._ranker(version)
        nothing = Ranked(pl.DataFrame(schema=RANKED), [])
        if not item_ids:
            return nothing
        with stages.time("log"):
            log = self._log(asker, item_ids, version)
        wanted = set(item_ids)
        if new_only:
            wanted -= {*liked_items(log.events.filter(pl.col("user_id") == asker.user_id))}
        if not wanted:
            return nothing
        impressions = pl.DataFrame({"item_id": sorted(wanted)}).select(
            "item_id",
            request_id=pl.lit("recommend"),
            user_id=pl.lit(asker.user_id),
            ts=pl.lit(self._now()).cast(log.events.schema["ts"]),
        )
        with stages.time("features"):
            centred = CentredEmbeddings.of(log.vectors, ranker.centring)
            table = build_features(
                impressions, log.events, log.items, log.vectors, centred=centred, counts=log.counts
            )
        with stages.time("rank"):
            score_N = ranker.predict(table)
        order_N = np.argsort(-score_N, kind="stable")  # rows lie by id, which breaks ties
        frame = pl.DataFrame(
            {
                "item_id": impressions["item_id"].gather(order_N),
                "score": score_N[order_N],
                "rank": np.arange(1, len(order_N) + 1),
            },
            schema=RANKED,
        )
        reasons = []
        if explain:
            with stages.time("explain"):
                reasons = _reasons(ranker, ranker.contributions(table)[order_N])
        return Ranked(frame, reasons)

    def _log(self, asker: Asker, item_ids: Sequence[str], version: str) -> Log:
        log = self._log_of(version, asker.user_id, [*dict.fromkeys([*item_ids, *asker.history])])
        if not asker.history:
            return log
        now = self._now()
        likes = pl.DataFrame(
            [
                {"event_id": str(n), "user_id": asker.user_id, "item_id": item_id}
                | {"action": "like", "ts": now - timedelta(minutes=n)}
                for n, item_id in enumerate(asker.history, start=1)
            ],
            schema=log.events.schema,
        )
        return Log(pl.concat([log.events, likes]), log.items, log.vectors, log.counts)

    def _ranker(self, version: str) -> Ranker:
        try:
            ranker = self._ranker_of(version)
            ranker.check(FeatureConfig().schema_hash, version)
        except FileNotFoundError as error:
            raise Unavailable(
                f"no ranker of version {version!r} is in use; run ponder features and ponder "
                "ranker train"
            ) from error
        except ValueError as error:
            raise RankerMismatch(str(error)) from error
        return ranker


def _reasons(ranker: Ranker, part_NF: np.ndarray) -> list[dict[str, float]]:
    """Return by row the features with the largest contributions; those of none are left out."""
    names = ranker.feature_names
    found = []
    for part_F in part_NF[:, : len(names)]:
        best = np.argsort(-np.abs(part_F), kind="stable")[:NUM_REASONS]
        found.append({names[f]: float(part_F[f]) for f in best if part_F[f]})
    return found
