"""Candidates of a log of ratings: what recall would have offered each user, as of the request.

Five channels, each with its best unseen items: neighbours of the history, what is popular of late,
what most users liked, what lies near the user's profile, and what is new.

Legend: C = candidate items, I = items ever liked, H = items of a history, D = embedding dimension,
E = likes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from features.cooccurrence import Cooccurrence
from features.daily_sums import days_of
from features.histories import HistoryConfig, histories, positive_events
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


def stage_one(
    requests: pl.DataFrame,
    events: pl.DataFrame,
    catalogue: Catalogue,
    counts: Cooccurrence,
    *,
    history: HistoryConfig,
    config: StageOneConfig | None = None,
) -> pl.DataFrame:
    """Return the candidates of each request.

    Args:
        requests: request_id, user_id, ts, and item_id, the answer, which counts as unseen.
        events: columns of `catalog.lake.tables.EVENTS`. What a user acted on in them, at any time,
            is no candidate of theirs.
        catalogue: what may be recommended.
        counts: of what everybody liked, as far as it may be known.
        history: what is liked.
        config: the channels; the defaults when None.

    Returns:
        request_id, user_id, item_id, ts; by request in the order of `requests`, then item_id.
    """
    channels = _Channels(events, catalogue, counts, history, config or StageOneConfig())
    taken = dict(channels.of(requests))
    numbers = range(len(requests))
    rows = np.repeat(np.arange(len(requests)), [len(taken[number]) for number in numbers])
    found = np.concatenate([np.zeros(0, dtype=np.int64), *(taken[number] for number in numbers)])
    items = catalogue.item_ids.gather(found)
    return (
        requests[rows].with_columns(item_id=items).select("request_id", "user_id", "item_id", "ts")
    )


class _Channels:
    """What requests are answered from; those of one day share what was popular."""

    def __init__(
        self,
        events: pl.DataFrame,
        catalogue: Catalogue,
        counts: Cooccurrence,
        history: HistoryConfig,
        config: StageOneConfig,
    ) -> None:
        self._events, self._catalogue, self._history = events, catalogue, history
        self._counts, self._config = counts, config
        self._neighbours = Neighbours.of(counts)
        self._row_C = counts.rows_of(catalogue.item_ids)
        self._place = {item: place for place, item in enumerate(catalogue.item_ids)}
        self._popularity = _Popularity(
            positive_events(events, config=history), self._place, config.half_life_days
        )

    def of(self, requests: pl.DataFrame) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each request's row and its candidates, rising places [n], in order of time."""
        ordered = requests.with_row_index("request").sort("ts", "request")
        past = histories(ordered, self._events, config=self._history)["items"]
        days = days_of(ordered["ts"])
        acted = self._acted_on()
        nobody = np.zeros(0, dtype=np.int64)
        for request, items, day in zip(
            ordered.iter_rows(named=True), past.to_list(), days, strict=True
        ):
            is_free_C = np.ones(len(self._place), dtype=bool)
            is_free_C[acted.get(request["user_id"], nobody)] = False
            if (answer := self._place.get(request["item_id"])) is not None:
                is_free_C[answer] = True
            chosen = [
                _best(np.where(is_free_C, score_C, -np.inf), limit)
                for score_C, limit in self._scored(items, int(day), request["ts"])
            ]
            yield request["request"], np.unique(np.concatenate(chosen))

    def _scored(
        self, items: list[str], day: int, moment: datetime
    ) -> Iterator[tuple[np.ndarray, int]]:
        """Yield the scores of each channel, [C], -inf of what it would not give; and how many."""
        config = self._config
        history_H = self._counts.rows_of(pl.Series(items, dtype=pl.String))
        together_I = self._neighbours.scores(history_H, day, decay=config.decay)
        yield _positive(self._of_candidates(together_I)), config.neighbours
        yield _positive(self._popularity.before(day)), config.popular
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
        known_C = np.any(vectors_CD != 0, axis=1)
        liked = [self._place[item] for item in items if item in self._place]
        liked = [place for place in liked if known_C[place]][: profile.max_history]
        if not liked:
            return np.full(len(vectors_CD), -np.inf)
        profile_D = profile_vector(vectors_CD[liked], half_life=profile.half_life)
        return np.where(known_C, vectors_CD @ profile_D, -np.inf)

    def _acted_on(self) -> dict[str, np.ndarray]:
        """Return by user the places of what they acted on; to be shown is no act."""
        acts = self._events.filter(pl.col("action") != "impression").select("user_id", "item_id")
        place = acts["item_id"].replace_strict(self._place, default=None, return_dtype=pl.Int64)
        by_user = acts.with_columns(place=place).drop_nulls("place").group_by("user_id")
        return {user: np.array(places) for user, places in by_user.agg("place").iter_rows()}


class _Popularity:
    """Likes of candidates, each halved for every half-life of its age in days; asked day by day."""

    def __init__(
        self, likes: pl.DataFrame, place: Mapping[str, int], half_life_days: float
    ) -> None:
        known = likes.filter(pl.col("item_id").is_in(list(place))).sort("ts")
        self._place_E = np.array([place[item] for item in known["item_id"]], dtype=np.int64)
        self._day_E = days_of(known["ts"])
        self._half_life_days = half_life_days
        self._day, self._next = 0, 0
        self._weight_C = np.zeros(len(place))

    def before(self, day: int) -> np.ndarray:
        """Return [C] what was liked before a day, which is none before one asked for already."""
        end = int(np.searchsorted(self._day_E, day))
        new = slice(self._next, end)
        age_E = day - self._day_E[new]
        grown_C = np.bincount(
            self._place_E[new],
            weights=0.5 ** (age_E / self._half_life_days),
            minlength=len(self._weight_C),
        )
        self._weight_C = (
            self._weight_C * 0.5 ** ((day - self._day) / self._half_life_days) + grown_C
        )
        self._day, self._next = day, end
        return self._weight_C


def _positive(score_C: np.ndarray) -> np.ndarray:
    return np.where(score_C > 0, score_C, -np.inf)


def _best(score_C: np.ndarray, limit: int) -> np.ndarray:
    """Return the places of the best finite scores; of equal ones the first."""
    if not limit:
        return np.zeros(0, dtype=np.int64)
    edge = max(len(score_C) - limit, 0)
    least = np.partition(score_C, edge)[edge] if len(score_C) else 0.0
    near = np.flatnonzero((score_C >= least) & np.isfinite(score_C))
    return near[np.argsort(-score_C[near], kind="stable")][:limit]
