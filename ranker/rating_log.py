"""Requests of a log without pages: which of stage one's items did the user like next?

Every user's last liked item is the test's (`evaluation.leave_last_out`); the newest ones before it
are what a ranker learns from. Two rules of what may be known are told apart:

- `as_of`: what was liked before the day of the request, by anybody, and by the user before it;
- `all`: everybody's likes of all times, but the answers of the requests in question. It is the rule
  of most published numbers on MovieLens, and nothing that a service could keep.

Both rank the same candidates for the same answers.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Literal

import polars as pl

from evaluation.leave_last_out import leave_last_out, newest_liked
from features.centred_embeddings import CentredEmbeddings
from features.centring import Centring
from features.cooccurrence import Cooccurrence, CooccurrenceConfig, cooccurrence
from features.daily_sums import days_of
from features.groups import DEFAULT_GROUPS, FeatureGroup
from features.histories import HistoryConfig, positive_events
from features.log import Log
from features.table import FeatureConfig, FeatureTable, build_features
from ranker.stage_one import Catalogue, StageOne, StageOneConfig

Known = Literal["as_of", "all"]

NUM_ANSWERS = 5
"""Liked items a user that are learnt from, at most."""

LONG_AGO = timedelta(days=100 * 365)
"""Likes moved back by it were known at any request."""

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RatingRules:
    """What is asked of a log of ratings."""

    known: Known = "as_of"

    min_rating: float = HistoryConfig().min_rating
    """Ratings from this on are liked: answers, histories and counts. 0: whatever was rated."""

    stage_one: StageOneConfig = field(default_factory=StageOneConfig)


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Requests with their candidates."""

    rows: pl.DataFrame
    """request_id, user_id, item_id, ts, relevance i32, of requests whose answer is there."""

    asked: pl.DataFrame
    """request_id, user_id, ts, item_id: the answer, by user; of all requests."""

    num_candidates: float
    """Of a request, on average."""

    counts: Cooccurrence


class RatingLog:
    """A log of ratings, under rules."""

    def __init__(
        self,
        log: Log,
        rules: RatingRules | None = None,
        *,
        candidates: pl.Series | None = None,
        groups: tuple[FeatureGroup, ...] = DEFAULT_GROUPS,
    ) -> None:
        """Hold every user's last liked candidate out.

        Args:
            log: its events are of all users.
            rules: the defaults when None.
            candidates: ids that may be recommended; those of the log when None.
            groups: of features that requests have.
        """
        self.log, self.rules = log, rules or RatingRules()
        liked = replace(HistoryConfig(), min_rating=self.rules.min_rating)
        default = FeatureConfig()
        counts = CooccurrenceConfig(history=liked)
        self.features = replace(
            default,
            groups=groups,
            history=liked,
            context=replace(default.context, history=liked),
            collaborative=replace(default.collaborative, counts=counts),
        )
        self.candidates = log.candidates if candidates is None else candidates
        self.events, self.held_out = leave_last_out(
            log.events, candidate_items=self.candidates, history=liked
        )

    def training(self) -> Requests:
        """Return requests for the newest liked items that are not held out.

        Raises:
            ValueError: nothing was liked.
        """
        answers = newest_liked(
            self.events,
            candidate_items=self.candidates,
            limit=NUM_ANSWERS,
            history=self.features.history,
        )
        known = self.events
        if self.rules.known == "all":
            known = known.join(answers, on=["user_id", "item_id"], how="anti")
        return self._requests(answers, known)

    def test(self) -> Requests:
        """Return one request for each user's held-out item.

        Where all is known, what a user did in the very second of the answer is known, too.
        """
        asked = self.held_out.with_columns(request_id="user_id")
        if self.rules.known == "all":
            asked = asked.with_columns(pl.col("ts") + INSTANT)
        return self._requests(asked, self.events)

    def table(
        self,
        requests: Requests,
        centring: Centring,
        *,
        groups: tuple[FeatureGroup, ...] | None = None,
    ) -> FeatureTable:
        """Return the features of requests.

        Args:
            requests: of this log.
            centring: of the ranker's training; see `ranker.training_table.measured_centring`.
            groups: some of those of the log; all when None.
        """
        centred = CentredEmbeddings.of(self.log.vectors, centring)
        return build_features(
            requests.rows,
            self.events,
            self.log.items,
            self.log.vectors,
            config=replace(self.features, groups=groups or self.features.groups),
            centred=centred,
            counts=requests.counts,
        )

    def _requests(self, asked: pl.DataFrame, known: pl.DataFrame) -> Requests:
        if self.rules.known == "all":
            known = known.with_columns(pl.col("ts") - LONG_AGO)
        counts = cooccurrence(
            known,
            config=self.features.collaborative.counts,
            with_swing=self.features.with_swing,
        )
        history = self.features.history
        stage_one = StageOne(
            self._catalogue,
            counts,
            positive_events(self.events, config=history),
            days_of(asked["ts"]),
            history=history,
            config=self.rules.stage_one,
        )
        found = stage_one.candidates(asked, self.events)
        mean = len(found) / max(len(asked), 1)
        return Requests(telling(found, asked), asked, mean, counts)

    @cached_property
    def _catalogue(self) -> Catalogue:
        return Catalogue.of(self.candidates, self.log.items, self.log.vectors)


def telling(found: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates of requests whose answer is one of them, each with its relevance.

    Args:
        found: as of `StageOne.candidates`.
        asked: request_id and item_id, the answer.
    """
    answers = asked.select("request_id", "item_id", relevance=pl.lit(1, pl.Int32))
    rows = found.join(
        answers, on=["request_id", "item_id"], how="left", maintain_order="left"
    ).with_columns(pl.col("relevance").fill_null(0))
    return rows.filter(pl.col("relevance").max().over("request_id") > 0)
