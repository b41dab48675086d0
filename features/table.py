"""Feature tables: impressions with their features, and all that is needed to make them again."""

from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import polars as pl

from features.centred_embeddings import CentredEmbeddings, Centring, history_pairs
from features.collaborative import NeighbourConfig, collaborative_features
from features.context import ContextConfig, EarlierCounts, context_features
from features.cooccurrence import Cooccurrence, cooccurrence
from features.histories import HistoryConfig, histories
from features.match import MatchConfig, match_features
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

    history: HistoryConfig = field(default_factory=HistoryConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    collaborative: NeighbourConfig = field(default_factory=NeighbourConfig)
    match: MatchConfig = field(default_factory=MatchConfig)

    edge_seed: int = 0
    """Of the pairs on which the edges of the similarity tiers are measured."""

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
    return feature_schema(config.match, config.collaborative)


@cache
def _plain(config: FeatureConfig) -> dict[str, Any]:
    return asdict(config)


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
    """Compute every feature of every impression, as of its request.

    Args:
        impressions: request_id, user_id, item_id, ts and, for training, relevance (i32 >= 0) and
            position (i32, 0 = shown first; null when unknown).
        events: columns of `catalog.lake.tables.EVENTS`, any order; later ones are not looked at.
            Those of `features.pages.Pages` where impressions are pages: clocks differ.
        items: item_id, category, price, created_at; one row per item, or one for each state of it
            (`features.landings.item_histories`): then each row is made of what was so at its
            request.
        embeddings: item_id, vector, model_version of one version; see `CentredEmbeddings.of`.
            Without effect when `centred` is given.
        config: the defaults when None.
        centred: as those of an earlier table were, to get comparable features; by the embeddings'
            own mean when None.
        counts: of what everybody liked before the newest request's day, where `events` hold only
            some users'; counted from `events` when None.
        earlier: of events that are none of `events`; see `features.context.context_features`.

    Returns:
        One row per impression, same order.

    Raises:
        ValueError: two model versions, an item twice.
    """
    config = config or FeatureConfig()
    requests = requests_of(impressions)
    longer = replace(config.history, max_items=config.history.max_items + SPARE_ITEMS)
    askers = requests["user_id"].unique().implode()
    own = events.filter(pl.col("user_id").is_in(askers))
    past = histories(requests, own, config=longer)
    centred = centred or CentredEmbeddings.measured(
        embeddings,
        pairs=history_pairs(past),
        num_tiers=config.match.num_tiers,
        seed=config.edge_seed,
    )
    if counts is None:
        counts = cooccurrence(events, config=config.collaborative.counts)
    features = config.features
    by_request = numbered(impressions)
    context = context_features(impressions, events, items, config=config.context, earlier=earlier)
    collaborative = collaborative_features(by_request, past, counts, config=config.collaborative)
    with_vector = centred.with_vector(own)
    compared = past
    if len(with_vector) < len(own):
        compared = histories(requests, with_vector, config=longer)
    match = match_features(
        by_request.with_columns(item_id=centred.names_at(by_request)),
        _named(past, requests, centred),
        centred,
        compared=_named(compared, requests, centred),
        config=config.match,
    )
    given = [*KEY_COLUMNS, *(name for name in GIVEN if name in impressions.columns)]
    frame = pl.concat([impressions.select(given), context, collaborative, match], how="horizontal")
    return FeatureTable(
        frame.select(given + [feature.name for feature in features]),
        features,
        centred.centring,
        config.plain,
    )


def _named(past: pl.DataFrame, requests: pl.DataFrame, centred: CentredEmbeddings) -> pl.DataFrame:
    """Return the histories with the names of the vectors that their items had at the request."""
    if centred.changes.is_empty():
        return past
    flat = past.with_columns(requests["ts"]).explode("items", "ages_h", empty_as_null=False)
    named = flat.select("request", items=centred.names_at(flat, "items"), ages_h="ages_h")
    lists = named.group_by("request", maintain_order=True).agg("items", "ages_h")
    empty = {"items": pl.lit([], pl.List(pl.String)), "ages_h": pl.lit([], pl.List(pl.Float32))}
    return (
        past.select("request")
        .join(lists, on="request", how="left", maintain_order="left")
        .with_columns(pl.col(name).fill_null(none) for name, none in empty.items())
    )
