"""Candidates put in order for a user or a history, by the ranker of the version that is live.

The ranker reads the features that it was trained on, made by the same function as of now, from the
vectors of that version.

Shape legend: N = candidates, F = features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from features.centring import Centring
from features.live import KnownNow, LiveRequest, given_acts, live_features
from features.table import FeatureConfig, FeatureTable
from ranker.model import Ranker
from recall.errors import Unavailable
from recall.stages import Stages
from serving.errors import RankerMismatch

NUM_REASONS = 5
"""Features that an explanation names."""

STRANGER = ""
"""Whose history it is when only items are given; no user has an empty id."""


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
        known_of: Callable[[LiveRequest], KnownNow],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        served: Callable[[FeatureTable], None] | None = None,
    ) -> None:
        """Rank by the ranker in use.

        Args:
            ranker_of: the ranker in use of an embedder version; called for each request, so it
                should remember the one it has loaded. It raises FileNotFoundError when none was
                promoted, and ValueError when what was saved cannot be used.
            known_of: reads what the features of a request are made from.
            now: the moment that features describe, with a time zone.
            served: told of the features of what is answered to users, best first; None: nobody is.
        """
        self._ranker_of, self._known_of, self._now = ranker_of, known_of, now
        self._served = served

    def can_rank(self, version: str) -> bool:
        """Return whether a ranker of an embedder version is in use, and fits."""
        try:
            self._ranker(version)
        except (RankerMismatch, Unavailable):
            return False
        return True

    def rank(
        self,
        asker: Asker,
        item_ids: Sequence[str],
        version: str,
        *,
        new_only: bool = False,
        explain: bool = False,
        num_shown: int | None = None,
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
            num_shown: how many are answered, the best ones; None: all.
            stages: a stopwatch that is told of reading the log, making features and ranking.

        Raises:
            RankerMismatch: the ranker fits other features, or cannot be used.
            Unavailable: no ranker of the version is in use.
        """
        stages = stages or Stages()
        ranker = self._ranker(version)
        config = FeatureConfig(groups=ranker.groups)
        nothing = Ranked(pl.DataFrame(schema=RANKED), [])
        if not item_ids:
            return nothing
        with stages.time("log"):
            known = self._known(asker, item_ids, version, config, ranker.centring)
        if new_only:
            known = known.without(known.liked)
        if known.items.is_empty():
            return nothing
        with stages.time("features"):
            table = live_features(known, ranker.centring, config=config)
        with stages.time("rank"):
            score_N = ranker.predict(table)
        order_N = np.argsort(-score_N, kind="stable")  # rows lie by id, which breaks ties
        if self._served is not None and asker.user_id != STRANGER:
            self._served(table.with_frame(table.frame[order_N[:num_shown]]))
        frame = pl.DataFrame(
            {
                "item_id": table.frame["item_id"].gather(order_N),
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

    def _known(
        self,
        asker: Asker,
        item_ids: Sequence[str],
        version: str,
        config: FeatureConfig,
        centring: Centring,
    ) -> KnownNow:
        now = self._now()
        acts = given_acts(asker.history, now) if asker.history else None
        return self._known_of(
            LiveRequest(
                version=version,
                user_id=asker.user_id,
                item_ids=item_ids,
                now=now,
                acts=acts,
                with_swing=config.with_swing,
                codes_id=centring.codes_id if "codes" in config.groups else "",
            )
        )

    def _ranker(self, version: str) -> Ranker:
        try:
            ranker = self._ranker_of(version)
            ranker.check(FeatureConfig(groups=ranker.groups).schema_hash, version)
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
