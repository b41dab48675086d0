"""Feature tables: impressions with their features, and all that is needed to make them again."""

from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from features.behaviour import BehaviourConfig, behaviour_columns
from features.centred_embeddings import CentredEmbeddings, history_pairs
from features.centring import Centring
from features.code_overlap import CodeConfig, code_columns
from features.collaborative import NeighbourConfig, collaborative_features
from features.context import ContextConfig, EarlierCounts, context_features, described
from features.cooccurrence import Cooccurrence, cooccurrence
from features.daily_sums import days_of
from features.groups import DEFAULT_GROUPS, VECTOR_GROUPS, FeatureGroup, in_order
from features.histories import (
    HistoryConfig,
    Pasts,
    histories,
    is_strong,
    pasts,
    positive_events,
    skipped_events,
)
from features.match import Asked, match_columns
from features.match_config import MatchConfig
from features.requests import REQUEST_KEY, numbered, requests_of
from features.schema import Feature, feature_schema, schema_hash

KEY_COLUMNS = ("request_id", "user_id", "item_id", "ts")
"""An item of a request; `features.requests.REQUEST_KEY` tells requests apart."""

GIVEN = ("position", "relevance")
"""What impressions may know besides, and a table keeps; no features, for a request has neither."""

SPARE_ITEMS = 10
"""Items by which histories are longer than what is compared: as many duplicates may be left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureConfig:
    """Everything that decides what a feature's value is, besides the data."""

    groups: tuple[FeatureGroup, ...] = DEFAULT_GROUPS
    """Which are made; nothing is computed for the others."""

    history: HistoryConfig = field(default_factory=HistoryConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    collaborative: NeighbourConfig = field(default_factory=NeighbourConfig)
    match: MatchConfig = field(default_factory=MatchConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    codes: CodeConfig = field(default_factory=CodeConfig)

    edge_seed: int = 0
    """Of the pairs on which the edges of the similarity tiers are measured."""

    def __post_init__(self) -> None:
        if not self.groups or in_order(self.groups) != self.groups:
            raise ValueError(
                f"groups must name some of features.groups.GROUPS in their order, got {self.groups}"
            )

    @property
    def with_swing(self) -> bool:
        """Whether Swing is read, and so must have been counted."""
        return "swing" in self.groups

    @property
    def with_collaborative(self) -> bool:
        """Whether it is read what was liked together."""
        return self.with_swing or "collaborative" in self.groups

    @property
    def with_vectors(self) -> bool:
        """Whether the embedder's vectors are compared."""
        return not set(VECTOR_GROUPS).isdisjoint(self.groups)

    @property
    def compared(self) -> MatchConfig:
        """Of the features of vectors those that the groups have."""
        feedback, clusters = (group in self.groups for group in ("feedback", "clusters"))
        return replace(self.match, feedback=feedback, clusters=clusters)

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features that are made, in column order."""
        return _features(self)

    @property
    def plain(self) -> dict[str, Any]:
        """The same as plain values, which nobody may change."""
        return _plain(self)

    @property
    def schema_hash(self) -> str:
        """Identity of a table made with it; see `features.schema.schema_hash`."""
        return _hash(self)


# A live request asks for them twice, and they take as long as its similarities.
@cache
def _features(config: FeatureConfig) -> tuple[Feature, ...]:
    all_there_are = feature_schema(
        config.match, config.collaborative, config.behaviour, config.codes
    )
    return tuple(feature for feature in all_there_are if feature.group in config.groups)


@cache
def _plain(config: FeatureConfig) -> dict[str, Any]:
    plain = asdict(config)
    if "codes" not in config.groups:  # what was made before there were codes stays what it is
        del plain["codes"]
    return plain


@cache
def _hash(config: FeatureConfig) -> str:
    return schema_hash(config.features, config.plain)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Impressions with their features."""

    frame: pl.DataFrame
    """request_id, user_id, item_id, ts, of `GIVEN` what there was, then the features."""

    features: tuple[Feature, ...]
    """The feature columns, in order."""

    centring: Centring
    """Of the embeddings compared: with it `CentredEmbeddings.of` makes comparable ones."""

    config: dict[str, Any]
    """The `FeatureConfig`, as plain values."""

    @property
    def model_version(self) -> str:
        """Embedder version of the vectors compared."""
        return self.centring.model_version

    @property
    def schema_hash(self) -> str:
        """Identity of the feature columns; see `features.schema.schema_hash`."""
        return schema_hash(self.features, self.config)

    def with_frame(self, frame: pl.DataFrame) -> "FeatureTable":
        """Return the same table with other rows."""
        return replace(self, frame=frame)

    @property
    def num_requests(self) -> int:
        """How many requests the rows are of."""
        return self.frame.select(REQUEST_KEY).n_unique()


def build_features(
    impressions: pl.DataFrame,
    events: pl.DataFrame,
    items: pl.DataFrame,
    embeddings: pl.DataFrame,
    *,
    config: FeatureConfig | None = None,
    centred: CentredEmbeddings | None = None,
    counts: Cooccurrence | None = None,
    earlier: EarlierCounts | None = None,
) -> FeatureTable:
    """Compute the features of every impression, as of its request.

    Args:
        impressions: request_id, user_id, item_id, ts and, for training, relevance (i32 >= 0) and
            position (i32, 0 = shown first; null when unknown).
        events: columns of `catalog.lake.tables.EVENTS`, any order; later ones are not looked at.
            Those of `features.pages.Pages` where impressions are pages: clocks differ.
        items: item_id, category, price, created_at; one row per item, or one for each state of it
            (`features.landings.item_histories`): then each row is made of what was so at its
            request.
        embeddings: item_id, vector, model_version of one version, with codes where their features
            are made; see `CentredEmbeddings.of`. Without effect when `centred` is given.
        config: which and how; the defaults when None.
        centred: as those of an earlier table were, to get comparable features; by the embeddings'
            own mean when None.
        counts: of what everybody liked before the newest request's day, where `events` hold only
            some users'; counted from `events` when None. With Swing, if that is a feature.
        earlier: of events that are none of `events`; see `features.context.context_features`.

    Returns:
        One row per impression, same order.

    Raises:
        ValueError: two model versions, an item twice.
    """
    config = config or FeatureConfig()
    requests = requests_of(impressions)
    own = events.filter(pl.col("user_id").is_in(requests["user_id"].unique().implode()))
    if centred is None:
        centred = _measured(embeddings, requests, own, config)
    by_request = numbered(impressions)
    request_N = by_request["request"].cast(pl.Int64).to_numpy()
    longest = config.history.max_items + SPARE_ITEMS
    liked, skipped = _acts(own, items, config.history)
    past = pasts(requests, liked, max_items=longest)
    given = [*KEY_COLUMNS, *(name for name in GIVEN if name in impressions.columns)]
    parts = [impressions.select(given)]
    if "context" in config.groups:
        parts.append(
            context_features(impressions, events, items, config=config.context, earlier=earlier)
        )
    if config.with_collaborative:
        how, with_swing = config.collaborative, config.with_swing
        if counts is None:
            counts = cooccurrence(events, config=how.counts, with_swing=with_swing)
        parts.append(
            collaborative_features(by_request, past, counts, config=how, with_swing=with_swing)
        )
    if config.with_vectors:
        compared = past
        if len(known := centred.with_vector(liked)) < len(liked):
            compared = pasts(requests, known, max_items=longest)
        spurned = pasts(requests, centred.with_vector(skipped), max_items=longest)
        about = described(impressions.select("item_id", "ts"), items)
        asked = Asked(centred.names_at(impressions), request_N, about["category"])
        named = _named(compared, requests, centred)
        columns = match_columns(
            asked,
            _named(past, requests, centred),
            named,
            _named(spurned, requests, centred),
            centred,
            config=config.compared,
        )
        if "codes" in config.groups:
            columns |= code_columns(asked, named, centred, config=config.codes)
        parts.append(pl.DataFrame(columns))
    if "behaviour" in config.groups:
        parts.append(_in_spaces(impressions, request_N, requests, past, centred, config))
    features = config.features
    frame = pl.concat(parts, how="horizontal")
    return FeatureTable(
        frame.select(given + [feature.name for feature in features]),
        features,
        centred.centring,
        config.plain,
    )


def _measured(
    embeddings: pl.DataFrame, requests: pl.DataFrame, events: pl.DataFrame, config: FeatureConfig
) -> CentredEmbeddings:
    return CentredEmbeddings.measured(
        embeddings,
        pairs=history_pairs(histories(requests, events, config=config.history)),
        num_tiers=config.match.num_tiers,
        num_clusters=config.match.num_clusters if "clusters" in config.groups else 0,
        seed=config.edge_seed,
    )


def _in_spaces(
    impressions: pl.DataFrame,
    request_N: np.ndarray,
    requests: pl.DataFrame,
    past: Pasts,
    centred: CentredEmbeddings,
    config: FeatureConfig,
) -> pl.DataFrame:
    return pl.DataFrame(
        behaviour_columns(
            *(impressions["item_id"], request_N, days_of(requests["ts"]), past),
            centred.centring.behaviour,
            config=config.behaviour,
        )
    )


def _acts(
    events: pl.DataFrame, items: pl.DataFrame, config: HistoryConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what was liked and what was skipped: user_id, item_id, ts, is_strong, category."""
    liked = positive_events(events, config=config).with_columns(is_strong=is_strong(config))
    skipped = skipped_events(events, config=config).with_columns(is_strong=pl.lit(False))
    kept = ["user_id", "item_id", "ts", "is_strong"]
    return described(liked.select(kept), items), described(skipped.select(kept), items)


def _named(past: Pasts, requests: pl.DataFrame, centred: CentredEmbeddings) -> Pasts:
    """Return the histories with the names of the vectors that their items had at the request."""
    ts = requests["ts"].gather(past.request_P)
    return past.named(centred.names_at(pl.DataFrame({"item_id": past.item_ids, "ts": ts})))
