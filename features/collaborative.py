"""Collaborative features: who liked what the user liked also liked the candidate.

They need no vector and no text. The counts are those of the last midnight (UTC) before the request.

Legend: N = impressions, R = requests, B = impressions of one block, S = history items compared.
"""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from features.cooccurrence import Cooccurrence, CooccurrenceConfig, days_of
from features.relative import relative_forms

BLOCK_ROWS = 32_768
"""Impressions looked up at once: 1.6 M pairs at 50 slots, 60 MB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NeighbourConfig:
    """How the neighbours of a history are summed up."""

    slots: int = 50
    """Newest history items compared, the candidate left out before they are counted."""

    decay: float = 0.9
    """An item weighs this much of the next newer one in `co_decayed`, in (0, 1]."""

    relative: tuple[str, ...] = ("co_decayed", "co_max")
    """Features that are also given as their rank and their gap within the request."""

    counts: CooccurrenceConfig = field(default_factory=CooccurrenceConfig)
    """Which likes make a pair."""

    def __post_init__(self) -> None:
        if self.slots <= 0 or not 0 < self.decay <= 1:
            raise ValueError(
                f"slots must be > 0 and decay in (0, 1], got {self.slots} and {self.decay}"
            )
        if unknown := set(self.relative) - set(NAMES):
            raise ValueError(f"relative must name some of {NAMES}, got {sorted(unknown)}")


NAMES = ("co_decayed", "co_mean", "co_max", "co_top3_mean", "co_last", "co_last5_max", "co_share")


def collaborative_features(
    impressions: pl.DataFrame,
    histories: pl.DataFrame,
    counts: Cooccurrence,
    *,
    config: NeighbourConfig | None = None,
) -> pl.DataFrame:
    """Compute how often a candidate was liked together with the history of its request.

    Args:
        impressions: request u32, item_id, ts; one row per candidate, any order.
        histories: request, items, as `features.histories.histories` gives them; row r is request r.
        counts: of all that was liked before the day of the newest request, at least.
        config: how they are summed up; the defaults when None.

    Returns:
        One row per impression, same order, with the "collaborative" columns of `features.schema`.
        Null where nobody has liked the candidate before the day, or nothing is to compare with.
    """
    config = config or NeighbourConfig()
    history_RS = _history_rows(histories, counts, config.slots + 1)
    candidate_N = counts.rows_of(impressions["item_id"])
    request_N = impressions["request"].to_numpy()
    day_N = days_of(impressions["ts"])
    blocks = []
    for start in range(0, max(len(candidate_N), 1), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        cosine_BS = _cosines(counts, candidate_N[part], history_RS[request_N[part]], day_N[part])
        blocks.append(_summary(cosine_BS, config))
    values = np.concatenate(blocks)
    table = {name: pl.Series(values[:, i], nan_to_null=True) for i, name in enumerate(NAMES)}
    return (
        impressions.select("request")
        .with_columns(**table)
        .with_columns(form for name in config.relative for form in relative_forms(name))
        .drop("request")
    )


def _history_rows(histories: pl.DataFrame, counts: Cooccurrence, slots: int) -> np.ndarray:
    """Return [R, slots] numbers of the newest history items; -1 not liked yet, -2 no more items."""
    flat = (
        histories.with_row_index("row")
        .select("row", pl.col("items").list.head(slots))
        .explode("items", empty_as_null=False)
        .with_columns(slot=pl.int_range(pl.len()).over("row"))
    )
    rows = np.full((len(histories), slots), -2, dtype=np.int64)
    rows[flat["row"].to_numpy(), flat["slot"].to_numpy()] = counts.rows_of(flat["items"])
    return rows


def _cosines(
    counts: Cooccurrence, candidate_B: np.ndarray, history_BS: np.ndarray, day_B: np.ndarray
) -> np.ndarray:
    """Return [B, S] cosines, newest first without the candidate itself; NaN where there is none."""
    history_BS = _without(candidate_B, history_BS)
    cosine_BS = np.where(history_BS > -2, 0.0, np.nan)
    is_known_B = (candidate_B >= 0) & (counts.users(candidate_B, day_B) > 0)
    cosine_BS[~is_known_B] = np.nan
    row_M, slot_M = np.nonzero((history_BS >= 0) & is_known_B[:, None])
    cosine_BS[row_M, slot_M] = counts.cosines(
        candidate_B[row_M], history_BS[row_M, slot_M], day_B[row_M]
    )
    return cosine_BS


def _without(candidate_B: np.ndarray, history_BS: np.ndarray) -> np.ndarray:
    """Return [B, S - 1]: the candidate's own slot closed up, or the oldest left out."""
    is_own_BS = (history_BS == candidate_B[:, None]) & (candidate_B[:, None] >= 0)
    is_past_BS = np.cumsum(is_own_BS, axis=1)[:, :-1] > 0
    return np.where(is_past_BS, history_BS[:, 1:], history_BS[:, :-1])


def _summary(cosine_BS: np.ndarray, config: NeighbourConfig) -> np.ndarray:
    """Return [B, 7] float32 the columns of `NAMES`."""
    size_B = np.isfinite(cosine_BS).sum(axis=1)
    filled_BS = np.nan_to_num(cosine_BS)
    best_B3 = -np.sort(-filled_BS, axis=1)[:, :3]
    num_B = np.maximum(size_B, 1)
    columns = [
        (filled_BS * config.decay ** np.arange(cosine_BS.shape[1])).sum(axis=1),
        filled_BS.sum(axis=1) / num_B,
        best_B3[:, 0],
        best_B3.sum(axis=1) / np.minimum(num_B, 3),
        filled_BS[:, 0],
        filled_BS[:, :5].max(axis=1),
        (filled_BS > 0).sum(axis=1) / num_B,
    ]
    table = np.stack(columns, axis=1).astype(np.float32)
    table[size_B == 0] = np.nan
    return table
