"""Match features: how close a candidate is to what its user liked before.

The same function makes them offline and in a service, and a row's features do not hang on which
other requests come with it. The arithmetic is in `features.similarity`.
"""

from dataclasses import dataclass

import polars as pl

from features.centred_embeddings import CentredEmbeddings
from features.relative import relative_forms
from features.similarity import Groups, similarity_table


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchConfig:
    """Which match features are made."""

    slots: int = 50
    """Newest history items compared; a longer history is cut. Fixed, for a sum's last bits hang
    on how many slots it runs over."""

    top_k: tuple[int, ...] = (3, 10)
    """Mean of the k largest similarities, for each k; of all there are when fewer."""

    half_lives_days: tuple[int, ...] = (1, 7, 30)
    """An item of this age weighs half in the profile, for each profile."""

    num_tiers: int = 8
    """Tiers of the similarity histogram, between `num_tiers - 1` edges; 0: none."""

    relative: tuple[str, ...] = ("match_max", "match_mean", "match_top3_mean", "match_profile_7d")
    """Features that are also given as their rank and their gap within the request."""

    def __post_init__(self) -> None:
        if min(self.slots, *self.top_k, *self.half_lives_days) <= 0:
            raise ValueError(
                "slots, top_k and half_lives_days must be > 0, got "
                f"{self.slots}, {self.top_k}, {self.half_lives_days}"
            )
        if self.num_tiers < 2 and self.num_tiers != 0:
            raise ValueError(f"num_tiers must be 0 or >= 2, got {self.num_tiers}")
        unknown = set(self.relative) - set(self.similarity_names())
        if unknown:
            raise ValueError(
                f"relative must name similarities, got {sorted(unknown)}; "
                f"there are {self.similarity_names()}"
            )

    @property
    def half_lives_h(self) -> tuple[float, ...]:
        """The profiles' half-lives in hours."""
        return tuple(24.0 * days for days in self.half_lives_days)

    def similarity_names(self) -> list[str]:
        """Return the names of the features that are cosines, in the order they are made."""
        return [
            "match_max",
            "match_mean",
            *(f"match_top{k}_mean" for k in self.top_k),
            "match_last",
            "match_last5_max",
            *(f"match_profile_{days}d" for days in self.half_lives_days),
        ]

    def tier_names(self) -> list[str]:
        """Return the names of the histogram's features: shares, then log counts; tier 0 is far."""
        tiers = range(self.num_tiers)
        return [f"match_tier{t}_share" for t in tiers] + [f"match_tier{t}_log1p" for t in tiers]


def match_features(
    impressions: pl.DataFrame,
    histories: pl.DataFrame,
    centred: CentredEmbeddings,
    *,
    compared: pl.DataFrame | None = None,
    config: MatchConfig | None = None,
) -> pl.DataFrame:
    """Compute how each candidate relates to the history of its request.

    The candidate and its exact duplicates, items of the same vector, are left out of the history
    before it is cut to `slots` (their cosine of 1 would drown the rest); `is_repeat` tells that
    the candidate itself was there. A history item without a vector counts in `history_size` and
    nowhere else.

    Args:
        impressions: request, item_id; one row per candidate, any order.
        histories: request, items, ages_h, as `features.histories.histories` gives them; every
            request of `impressions` is there.
        centred: vectors of one model version, and the edges of its tiers.
        compared: the same of items that have a vector alone, so that none without takes a slot;
            `histories` when None.
        config: which features; the defaults when None.

    Returns:
        One row per impression, same order, with the "match" columns of `features.schema`. A
        similarity is null, never 0, when the candidate has no vector or nothing to compare with.
    """
    config = config or MatchConfig()
    _check_edges(centred, config)
    compared = histories if compared is None else compared
    groups = Groups.of(impressions, compared, centred, slots=config.slots)
    values = similarity_table(
        groups,
        centred,
        top_k=config.top_k,
        half_lives_h=config.half_lives_h,
        num_tiers=config.num_tiers,
    )
    names = config.similarity_names() + config.tier_names()
    return (
        _counts(impressions, histories, centred, config.slots)
        .with_columns(
            has_vector=pl.Series(centred.rows_of(impressions["item_id"]) >= 0),
            **{name: pl.Series(values[:, i], nan_to_null=True) for i, name in enumerate(names)},
        )
        .with_columns(form for name in config.relative for form in relative_forms(name))
        .drop("request", "item_id")
    )


def _check_edges(centred: CentredEmbeddings, config: MatchConfig) -> None:
    if config.num_tiers and len(centred.centring.edges) > config.num_tiers - 1:
        raise ValueError(
            f"embeddings for {config.num_tiers} tiers must have at most {config.num_tiers - 1} "
            f"edges, got {len(centred.centring.edges)}; centre them with the same num_tiers"
        )


def _counts(
    impressions: pl.DataFrame, histories: pl.DataFrame, centred: CentredEmbeddings, max_items: int
) -> pl.DataFrame:
    """Return request, item_id, history_size and is_repeat of every impression, in order."""
    size = histories.select("request", size=pl.col("items").list.len())
    past = histories.select("request", item_id="items").explode("item_id", empty_as_null=False)
    alike = (
        _with_likeness(past, centred)
        .group_by("request", "same")
        .agg(num_left_out=pl.len(), items=pl.col("item_id"))
    )
    left = pl.col("size") - pl.col("num_left_out").fill_null(0)
    return (
        _with_likeness(impressions.select("request", "item_id"), centred)
        .join(size, on="request", how="left", maintain_order="left")
        .join(alike, on=["request", "same"], how="left", maintain_order="left")
        .select(
            "request",
            "item_id",
            history_size=pl.min_horizontal(left, pl.lit(max_items)).cast(pl.UInt32),
            is_repeat=pl.col("items").list.contains(pl.col("item_id")).fill_null(False),
        )
    )


def _with_likeness(rows: pl.DataFrame, centred: CentredEmbeddings) -> pl.DataFrame:
    """Add the column `same`, equal for an item and its exact duplicates."""
    row_N = centred.rows_of(rows["item_id"])
    number = pl.Series("same", centred.same_N[row_N]).cast(pl.String)
    return rows.with_columns(
        same=pl.when(pl.Series(row_N >= 0))
        .then("vector " + number)
        .otherwise("item " + rows["item_id"])
    )
