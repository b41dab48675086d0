"""The features of one request of now, from what a service keeps in memory.

What is looked up is looked up otherwise than for a table, for one request needs no joins; what is
computed of it are the functions that make tables (`context_columns`, `collaborative`, `match`).

Legend: N = candidates, V = items that have a vector, D = embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from catalog.lake.tables import TIME
from features.activity import ActivityView
from features.behaviour import behaviour_columns
from features.centred_embeddings import CentredEmbeddings
from features.centring import Centring
from features.code_overlap import code_columns
from features.collaborative import collaborative_columns_now
from features.context import ContextCounts, context_columns
from features.daily_sums import DAYS
from features.histories import Pasts
from features.item_states import ItemStates
from features.match import Asked, match_columns
from features.neighbours import Neighbours
from features.table import SPARE_ITEMS, FeatureConfig, FeatureTable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US = timedelta(days=1) // timedelta(microseconds=1)

REQUEST = "live"
"""The request id in a table of one request."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LiveRequest:
    """Whose candidates are asked for, and when."""

    version: str
    """Model version of the vectors."""

    user_id: str

    item_ids: Sequence[str]
    """The candidates, each once."""

    now: datetime
    """The moment, with a time zone."""

    acts: pl.DataFrame | None = None
    """Instead of those of the user, as of `given_acts`."""

    with_swing: bool = False
    """Whether the neighbours must tell of Swing."""

    codes_id: str = ""
    """Of the codebooks that the vectors are to have codes of; empty: none are wanted."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KnownNow:
    """What is known of a user and of candidates at one moment."""

    now: datetime
    user_id: str

    user_events: int
    """Of any kind."""

    acts: pl.DataFrame
    """What the user did, newest first: item_id, ts, is_liked, is_strong, is_skipped, and the item's
    category then."""

    items: pl.DataFrame
    """The candidates, in order of item_id: impressions, positives, popularity, category, price,
    created_at."""

    vector_ids: pl.Series
    """[V] candidates and liked items that have a vector, in order of id."""

    vectors_VD: np.ndarray
    """float32, as the embedder gave them."""

    neighbours: Neighbours
    """Of what was liked before the day of `now`."""

    codes_VL: np.ndarray | None = None
    """Codes of the vectors, int32; None where none were wanted."""

    @property
    def liked(self) -> list[str]:
        """What the user liked, newest first, each item once."""
        return list(dict.fromkeys(self.acts.filter("is_liked")["item_id"].to_list()))

    def without(self, item_ids: Sequence[str]) -> "KnownNow":
        """Return the same of fewer candidates."""
        out = pl.Series(item_ids, dtype=pl.String).implode()
        return replace(self, items=self.items.filter(~pl.col("item_id").is_in(out)))


def known_now(
    request: LiveRequest,
    *,
    activity: ActivityView,
    states: ItemStates,
    vectors: tuple[pl.Series, np.ndarray],
    neighbours: Neighbours,
    codes_VL: np.ndarray | None = None,
) -> KnownNow:
    """Look up what is known of candidates.

    Args:
        request: the moment is after all that is counted.
        activity: of everybody, or of the user and the candidates at least.
        states: of the candidates and of what the user liked.
        vectors: ids in order and [V, D] float32 vectors of those that have one.
        neighbours: of what was liked before the day.
        codes_VL: of the vectors, where they were wanted.
    """
    user_events, acts = acts_of(request, activity)
    ids, now = pl.Series(sorted(request.item_ids), dtype=pl.String), request.now
    impressions, positives, popularity = activity.of_items(ids, now)
    about = states.at(ids, np.full(len(ids), _microseconds(now)))
    then = states.at(acts["item_id"], acts["ts"].to_physical().to_numpy())
    return KnownNow(
        now=now,
        user_id=request.user_id,
        user_events=user_events,
        acts=acts.with_columns(then["category"]),
        items=about.with_columns(
            pl.Series("item_id", ids),
            pl.Series("impressions", impressions),
            pl.Series("positives", positives),
            pl.Series("popularity", popularity),
        ),
        vector_ids=vectors[0],
        vectors_VD=vectors[1],
        neighbours=neighbours,
        codes_VL=codes_VL,
    )


def live_features(
    known: KnownNow, centring: Centring, *, config: FeatureConfig | None = None
) -> FeatureTable:
    """Compute the features of the candidates of one request, and nothing for other groups.

    Equal to what `features.table.build_features` makes of the whole log: counts and ranks exactly,
    others to 1e-5 of 1 or of the value, whichever is more. Cosines differ in their last bit, so one
    that lies on the edge of a tier, which is a quantile of such cosines, may count on either side.

    Args:
        known: what is known at its moment.
        centring: of the ranker that is to read them.
        config: which and how; the defaults when None.

    Returns:
        One row per candidate, in order of item_id.
    """
    config = config or FeatureConfig()
    ids = known.items["item_id"]
    centred = CentredEmbeddings.of_vectors(
        known.vector_ids, known.vectors_VD, centring, codes_NL=known.codes_VL
    )
    liked = known.acts.filter("is_liked")
    longest = config.history.max_items + SPARE_ITEMS
    past, compared = _pasts(liked, known.now, centred, longest)
    asked = Asked(ids, np.zeros(len(ids), dtype=np.int64), known.items["category"])
    day = _microseconds(known.now) // DAY_US + DAYS // 2
    columns = {
        "request_id": pl.repeat(REQUEST, len(ids), eager=True),
        "user_id": pl.repeat(known.user_id, len(ids), eager=True),
        "item_id": ids,
        "ts": pl.repeat(known.now, len(ids), dtype=TIME, eager=True),
    }
    keys = list(columns)
    if "context" in config.groups:
        columns |= context_columns(_context(known, liked), config=config.context)
    if config.with_collaborative:
        columns |= collaborative_columns_now(
            *(ids, past, known.neighbours, day),
            config=config.collaborative,
            with_swing=config.with_swing,
        )
    if config.with_vectors:
        _, skipped = _pasts(known.acts.filter("is_skipped"), known.now, centred, longest)
        columns |= match_columns(asked, past, compared, skipped, centred, config=config.compared)
        if "codes" in config.groups:
            columns |= code_columns(asked, compared, centred, config=config.codes)
    if "behaviour" in config.groups:
        columns |= behaviour_columns(
            *(ids, asked.request_N, np.array([day]), past, centring.behaviour),
            config=config.behaviour,
        )
    frame = pl.DataFrame(columns).select(keys + [feature.name for feature in config.features])
    return FeatureTable(frame, config.features, centring, config.plain)


def acts_of(request: LiveRequest, activity: ActivityView) -> tuple[int, pl.DataFrame]:
    """Return how many events the user has, of any kind, and what the user did, newest first."""
    if request.acts is not None:
        return len(request.acts), request.acts
    return activity.of_user(request.user_id)


def given_acts(item_ids: Sequence[str], now: datetime) -> pl.DataFrame:
    """Return acts of somebody who liked items, newest first, a minute between each two."""
    ages = [timedelta(minutes=back) for back in range(1, len(item_ids) + 1)]
    return pl.DataFrame(
        {"item_id": item_ids, "ts": [now - age for age in ages]},
        schema={"item_id": pl.String, "ts": TIME},
    ).with_columns(is_liked=pl.lit(True), is_strong=pl.lit(True), is_skipped=pl.lit(False))


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _pasts(
    acts: pl.DataFrame, now: datetime, centred: CentredEmbeddings, max_items: int
) -> tuple[Pasts, Pasts]:
    """Return the newest items that were acted on, and the newest of those that have a vector."""
    newest = acts.unique("item_id", keep="first", maintain_order=True)
    has_vector = pl.Series(centred.rows_of(newest["item_id"]) >= 0)
    parts = newest.head(max_items), newest.filter(has_vector).head(max_items)
    return _past(parts[0], now), _past(parts[1], now)


def _past(rows: pl.DataFrame, now: datetime) -> Pasts:
    age_us = _microseconds(now) - rows["ts"].to_physical().to_numpy()
    ages_h = (age_us / 1e6 / 3600).astype(np.float32)
    return Pasts.of_rows(rows, ages_h, np.array([0, len(rows)]))


def _context(known: KnownNow, liked: pl.DataFrame) -> ContextCounts:
    items, num = known.items, len(known.items)
    now_us = _microseconds(known.now)
    created = items["created_at"].to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy()
    counts = liked["category"].drop_nulls().value_counts(name="count")
    by_category = dict(counts.iter_rows())
    in_category = [
        np.nan if category is None else by_category.get(category, 0)
        for category in items["category"].to_list()
    ]
    return ContextCounts(
        item_impressions=items["impressions"].to_numpy(),
        item_positives=items["positives"].to_numpy(),
        item_popularity=items["popularity"].to_numpy(),
        item_age_h=(now_us - created) / 1e6 / 3600,
        item_price=items["price"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        user_events=np.full(num, known.user_events),
        user_positives=np.full(num, len(liked)),
        user_in_category=np.array(in_category, dtype=np.float64),
    )
