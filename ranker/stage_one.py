"""Candidates of a log of ratings: what recall would have offered each user, as of the request.

Five channels, each with its best unseen items: neighbours of the history, what is popular of late,
what most users liked, what lies near the user's profile, and what is new.

Legend: C = candidate items, I = items ever liked, H = items of a history, D = embedding dimension,
E = likes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from features.cooccurrence import Cooccurrence
from features.daily_sums import days_of
from features.histories import HistoryConfig, histories
from features.neighbours import Neighbours
from features.profile import ProfileConfig, profile_vector


@dataclass(frozen=True, kw_only=True, slots=True)
class StageOneConfig:
    """How many items each channel gives, and by what."""

    neighbours: int = 200
    """Liked together with the history, newer items of it counting more."""

    popular: int = 50
    """Liked most of late."""

    favourites: int = 50
    """Liked by most users."""

    nearest: int = 50
    """Nearest to the profile of the history, by the embedder's vectors."""

    fresh: int = 25
    """Created last."""

    decay: float = 0.9
    """Weight of a history item beside the next newer one, for `neighbours`."""

    half_life_days: float = 30.0
    """A like of this age counts half, for `popular`."""


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """What may be recommended."""

    item_ids: pl.Series
    """[C] ids, rising."""

    created_C: np.ndarray
    """int64 microseconds."""

    vectors_CD: np.ndarray
    """float32, L2-normalised; zeros of an item without a vector."""

    @classmethod
    def of(cls, item_ids: pl.Series, items: pl.DataFrame, vectors: pl.DataFrame) -> "Catalogue":
        """Look items up, as they are now.

        Args:
            item_ids: that may be recommended.
            items: item_id, created_at; of several states of an item the last row counts.
            vectors: item_id, vector; likewise.
        """
        rows = pl.DataFrame({"item_id": item_ids.unique().sort()})
        for table, column in ((items, "created_at"), (vectors, "vector")):
            newest = table.select("item_id", column).unique("item_id", keep="last")
            rows = rows.join(newest, on="item_id", how="left", maintain_order="left")
        has_vector_C = rows["vector"].is_not_null().to_numpy()
        known = rows["vector"].drop_nulls().to_list()
        vectors_CD = np.zeros((len(rows), len(known[0]) if known else 0), dtype=np.float32)
        if known:
            vectors_CD[has_vector_C] = known
        created_C = rows["created_at"].to_physical().fill_null(0).to_numpy()
        return cls(rows["item_id"], created_C, vectors_CD)


class StageOne:
    """What requests of a log are answered from, some users' at a time."""

    def __init__(
        self,
        catalogue: Catalogue,
        counts: Cooccurrence,
        likes: pl.DataFrame,
        days: np.ndarray,
        *,
        history: HistoryConfig,
        config: StageOneConfig | None = None,
    ) -> None:
        """Arrange what all requests share.

        Args:
            catalogue: what may be recommended.
            counts: of what everybody liked, as far as it may be known.
            likes: item_id, ts: everything that anybody liked, a like a row.
            days: of all requests, as of `features.daily_sums.days_of`.
            history: what is liked.
            config: the channels; the defaults when None.
        """
        self._catalogue, self._history = catalogue, history
        self._has_vector_C = np.any(catalogue.vectors_CD != 0, axis=1)
        self._counts, self._config = counts, config or StageOneConfig()
        self._neighbours = Neighbours.of(counts)
        self._row_C = counts.rows_of(catalogue.item_ids)
        self._place = {item: place for place, item in enumerate(catalogue.item_ids)}
        self._popularity = _Popularity(likes, catalogue, days, self._config.half_life_days)

    def candidates(self, requests: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """Return the candidates of each request.

        Args:
            requests: request_id, user_id, ts, and item_id, the answer, which counts as unseen.
            events: at least user_id, item_id, action, ts, and value where there are ratings; all of
                the requests' users. What a user acted on in them, at any time, is no candidate of
                theirs.

        Returns:
            request_id, user_id, item_id, ts; by request in the order of `requests`, then item_id.
        """
        taken = dict(self._answers(requests, events))
        numbers = range(len(requests))
        rows = np.repeat(np.arange(len(requests)), [len(taken[number]) for number in numbers])
        found = [np.zeros(0, dtype=np.int64), *(taken[number] for number in numbers)]
        items = self._catalogue.item_ids.gather(np.concatenate(found))
        answered = requests[rows].with_columns(item_id=items)
        return answered.select("request_id", "user_id", "item_id", "ts")

    def _answers(
        self, requests: pl.DataFrame, events: pl.DataFrame
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each request's row and its candidates, rising places [n], in order of time."""
        ordered = requests.with_row_index("request").sort("ts", "request")
        past = histories(ordered, events, config=self._history)["items"]
        acted = self._acted_on(events)
        nobody = np.zeros(0, dtype=np.int64)
        days = days_of(ordered["ts"])
        for request, items, day, popular_C in zip(
            *(ordered.iter_rows(named=True), past.to_list(), days),
            self._popularity.before_each(days),
            strict=True,
        ):
            is_free_C = np.ones(len(self._place), dtype=bool)
            is_free_C[acted.get(request["user_id"], nobody)] = False
            if (answer := self._place.get(request["item_id"])) is not None:
                is_free_C[answer] = True
            chosen = [
                _best(np.where(is_free_C, score_C, -np.inf), limit)
                for score_C, limit in self._scored(items, int(day), request["ts"], popular_C)
            ]
            yield request["request"], np.unique(np.concatenate(chosen))

    def _scored(
        self, items: list[str], day: int, moment: datetime, popular_C: np.ndarray
    ) -> Iterator[tuple[np.ndarray, int]]:
        """Yield the scores of each channel, [C], -inf of what it would not give; and how many."""
        config = self._config
        history_H = self._counts.rows_of(pl.Series(items, dtype=pl.String))
        together_I = self._neighbours.scores(history_H, day, decay=config.decay)
        yield _positive(self._of_candidates(together_I)), config.neighbours
        yield _positive(popular_C), config.popular
        item_I = np.arange(len(self._counts.item_ids))
        users_I = self._counts.users(item_I, np.full(len(item_I), day))
        yield _positive(self._of_candidates(users_I)), config.favourites
        yield self._nearness(items), config.nearest
        now = int(pl.Series([moment]).dt.epoch("us")[0])
        created_C = self._catalogue.created_C
        yield np.where(created_C <= now, created_C.astype(np.float64), -np.inf), config.fresh

    def _of_candidates(self, score_I: np.ndarray) -> np.ndarray:
        """Return [C] the scores of candidates; 0 of those that nobody has liked."""
        return np.where(self._row_C >= 0, np.append(score_I, 0.0)[self._row_C], 0.0)

    def _nearness(self, items: list[str]) -> np.ndarray:
        """Return [C] cosines with the profile; -inf where there is no vector."""
        vectors_CD, profile = self._catalogue.vectors_CD, ProfileConfig()
        known_C = self._has_vector_C
        liked = [self._place[item] for item in items if item in self._place]
        liked = [place for place in liked if known_C[place]][: profile.max_history]
        if not liked:
            return np.full(len(vectors_CD), -np.inf)
        profile_D = profile_vector(vectors_CD[liked], half_life=profile.half_life)
        return np.where(known_C, vectors_CD @ profile_D, -np.inf)

    def _acted_on(self, events: pl.DataFrame) -> dict[str, np.ndarray]:
        """Return by user the places of what they acted on; to be shown is no act."""
        acts = events.filter(pl.col("action") != "impression").select("user_id", "item_id")
        place = acts["item_id"].replace_strict(self._place, default=None, return_dtype=pl.Int64)
        by_user = acts.with_columns(place=place).drop_nulls("place").group_by("user_id")
        return {user: np.array(places) for user, places in by_user.agg("place").iter_rows()}


class _Popularity:
    """Likes of candidates, each halved for every half-life of its age in days; asked day by day.

    It steps from each day of any request to the next, so that a day's numbers are the same to the
    last bit whoever's requests are answered.
    """

    def __init__(
        self, likes: pl.DataFrame, catalogue: Catalogue, days: np.ndarray, half_life_days: float
    ) -> None:
        index = pl.DataFrame({"item_id": catalogue.item_ids}).with_row_index("place")
        known = likes.select("item_id", "ts").join(index, on="item_id", how="inner").sort("ts")
        self._place_E = known["place"].to_numpy()
        self._day_E = days_of(known["ts"]).astype(np.int32)
        self._steps = np.unique(days)
        self._half_life_days = half_life_days
        self._num_items = len(catalogue.item_ids)

    def before_each(self, days: np.ndarray) -> Iterator[np.ndarray]:
        """Yield [C] what was liked before each of days that rise; each is one of all requests'."""
        weight_C = np.zeros(self._num_items)
        at, begin, step = 0, 0, 0
        for day in days:
            while step < len(self._steps) and (to := int(self._steps[step])) <= day:
                end = int(np.searchsorted(self._day_E, to))
                weight_C = weight_C * self._faded(to - at) + self._grown(to, slice(begin, end))
                at, begin, step = to, end, step + 1
            yield weight_C

    def _grown(self, day: int, likes: slice) -> np.ndarray:
        faded_E = self._faded(day - self._day_E[likes])
        return np.bincount(self._place_E[likes], weights=faded_E, minlength=self._num_items)

    def _faded(self, age: Any) -> Any:
        return 0.5 ** (age / self._half_life_days)


def _positive(score_C: np.ndarray) -> np.ndarray:
    return np.where(score_C > 0, score_C, -np.inf)


def _best(score_C: np.ndarray, limit: int) -> np.ndarray:
    """Return the places of the best finite scores; of equal ones the first."""
    place_M = np.flatnonzero(np.isfinite(score_C))
    if not limit or not len(place_M):
        return place_M[:0]
    score_M = score_C[place_M]
    edge = max(len(score_M) - limit, 0)
    near_M = score_M >= np.partition(score_M, edge)[edge]
    return place_M[near_M][np.argsort(-score_M[near_M], kind="stable")][:limit]
