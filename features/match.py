"""Match features: how close a candidate is to what its user liked before.

The same function makes them offline and in a service, and a row's features do not hang on which
other requests come with it. The arithmetic is in `features.similarity`.

Legend: N = impressions, P = items of all histories, K = those of a history that are alike, counted
once.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from features.centred_embeddings import CentredEmbeddings
from features.histories import Pasts
from features.relative import relative_columns
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
        compared: the same of items that have a vector alone, so that none without takes a slot, in
            the same order of requests; `histories` when None.
        config: which features; the defaults when None.

    Returns:
        One row per impression, same order, with the "match" columns of `features.schema`. A
        similarity is null, never 0, when the candidate has no vector or nothing to compare with.
    """
    config = config or MatchConfig()
    compared = histories if compared is None else compared
    request_N = _request_rows(impressions, histories)
    columns = match_columns(
        impressions["item_id"],
        request_N,
        Pasts.of(histories),
        Pasts.of(compared),
        centred,
        config=config,
    )
    return pl.DataFrame(columns)


def match_columns(
    item_ids: pl.Series,
    request_N: np.ndarray,
    past: Pasts,
    compared: Pasts,
    centred: CentredEmbeddings,
    *,
    config: MatchConfig,
) -> dict[str, pl.Series]:
    """Return the columns of `match_features`, of candidates and histories that lie in columns.

    Args:
        item_ids: the candidates.
        request_N: of each its request, a row of `past`.
        past: what was liked.
        compared: the same of items that have a vector, in the same order of requests.
        centred: as of `match_features`.
        config: which features.
    """
    _check_edges(centred, config)
    row_N = centred.rows_of(item_ids)
    compared_P = centred.rows_of(compared.item_ids)
    names = config.similarity_names() + config.tier_names()
    if len(centred.item_ids):
        groups = Groups.of(row_N, request_N, compared, compared_P, centred, slots=config.slots)
        values = similarity_table(
            groups,
            centred,
            top_k=config.top_k,
            half_lives_h=config.half_lives_h,
            num_tiers=config.num_tiers,
        )
    else:
        values = np.full((len(row_N), len(names)), np.nan, dtype=np.float32)
    column_of = {name: values[:, number] for number, name in enumerate(names)}
    size_N, is_repeat_N = _counts(item_ids, row_N, request_N, past, centred)
    return {
        "history_size": pl.Series(np.minimum(size_N, config.slots), dtype=pl.UInt32),
        "is_repeat": pl.Series(is_repeat_N),
        "has_vector": pl.Series(row_N >= 0),
        **{name: pl.Series(column, nan_to_null=True) for name, column in column_of.items()},
        **relative_columns({name: column_of[name] for name in config.relative}, request_N),
    }


def _request_rows(impressions: pl.DataFrame, histories: pl.DataFrame) -> np.ndarray:
    """Return [N] row in `histories` of each impression's request.

    Raises:
        ValueError: an impression's request has none.
    """
    index = histories.select("request").with_row_index("row")
    found = impressions.select("request").join(
        index, on="request", how="left", maintain_order="left", validate="m:1"
    )
    if found["row"].null_count():
        lost = found.filter(pl.col("row").is_null())["request"][0]
        raise ValueError(
            f"every impression's request must have a history, got none for {lost!r}; "
            "build the histories from the same impressions"
        )
    return found["row"].cast(pl.Int64).to_numpy()


def _check_edges(centred: CentredEmbeddings, config: MatchConfig) -> None:
    if config.num_tiers and len(centred.centring.edges) > config.num_tiers - 1:
        raise ValueError(
            f"embeddings for {config.num_tiers} tiers must have at most {config.num_tiers - 1} "
            f"edges, got {len(centred.centring.edges)}; centre them with the same num_tiers"
        )


def _counts(
    item_ids: pl.Series,
    row_N: np.ndarray,
    request_N: np.ndarray,
    past: Pasts,
    centred: CentredEmbeddings,
) -> tuple[np.ndarray, np.ndarray]:
    """Return two of [N]: items of the history that are not the candidate, and whether it was there.

    Its exact duplicates are the candidate here, but for whether it was there.
    """
    row_P, request_P = centred.rows_of(past.item_ids), past.request_P
    item_N, item_P = _numbers(item_ids, row_N, past.item_ids, row_P, len(centred.item_ids))
    span = 1 + int(max(item_N.max(initial=0), item_P.max(initial=0)))
    same_N, same_P = item_N, item_P
    if len(centred.item_ids):
        same_N = np.where(row_N >= 0, centred.same_N[row_N], item_N)
        same_P = np.where(row_P >= 0, centred.same_N[row_P], item_P)
    past_K, num_K = np.unique(request_P * span + same_P, return_counts=True)
    asked_N = request_N * span + same_N
    place_N = np.minimum(np.searchsorted(past_K, asked_N), max(len(past_K) - 1, 0))
    left_out_N = np.zeros(len(asked_N), dtype=np.int64)
    if len(past_K):
        left_out_N = np.where(past_K[place_N] == asked_N, num_K[place_N], 0)
    is_repeat_N = np.isin(request_N * span + item_N, request_P * span + item_P)
    return past.size_R[request_N] - left_out_N, is_repeat_N


def _numbers(
    asked: pl.Series, row_N: np.ndarray, past: pl.Series, row_P: np.ndarray, num_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a number for each item, asked and past: its row, or one above all rows."""
    without_N, without_P = np.flatnonzero(row_N < 0), np.flatnonzero(row_P < 0)
    if not len(without_N) and not len(without_P):
        return row_N, row_P
    unknown = pl.concat([asked.gather(without_N), past.gather(without_P)])
    number = num_rows + unknown.rank("dense").cast(pl.Int64).to_numpy()
    item_N, item_P = row_N.copy(), row_P.copy()
    item_N[without_N], item_P[without_P] = number[: len(without_N)], number[len(without_N) :]
    return item_N, item_P
