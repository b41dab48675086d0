"""Collaborative features: who liked what the user liked also liked the candidate.

They need no vector and no text. The counts are those of the last midnight (UTC) before the request.

Legend: N = impressions, R = requests, B = impressions of one block, S = history items compared,
P = items of all histories.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from features.cooccurrence import Cooccurrence, CooccurrenceConfig
from features.daily_sums import days_of
from features.histories import Pasts
from features.neighbours import Neighbours
from features.relative import relative_columns

NO_MORE = -2
"""Stands in a slot beyond the history."""

BLOCK_ROWS = 32_768
"""Impressions looked up at once: 1.6 M pairs at 50 slots, 60 MB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NeighbourConfig:
    """How the neighbours of a history are summed up."""

    slots: int = 50
    """Newest history items compared, the candidate left out before they are counted."""

    decay: float = 0.9
    """An item weighs this much of the next newer one in `co_decayed`, in (0, 1]."""

    relative: tuple[str, ...] = ("co_decayed", "co_max", "swing_decayed")
    """Features that are also given as their rank and their gap within the request."""

    counts: CooccurrenceConfig = field(default_factory=CooccurrenceConfig)
    """Which likes make a pair."""

    def __post_init__(self) -> None:
        if self.slots <= 0 or not 0 < self.decay <= 1:
            raise ValueError(
                f"slots must be > 0 and decay in (0, 1], got {self.slots} and {self.decay}"
            )
        if unknown := set(self.relative) - {*NAMES, *SWING_NAMES}:
            raise ValueError(
                f"relative must name some of {(*NAMES, *SWING_NAMES)}, got {sorted(unknown)}"
            )


NAMES = ("co_decayed", "co_mean", "co_max", "co_top3_mean", "co_last", "co_last5_max", "co_share")
"""Of the group "collaborative"."""

SWING_NAMES = ("swing_decayed", "swing_max", "swing_top3_mean", "swing_last5_max")
"""Of the group "swing"."""

Found = dict[tuple[str, ...], np.ndarray]
"""By the names that are made of it: [B, S] cosines or Swing, newest first without the candidate
itself; NaN where there is nothing to compare with."""


def collaborative_features(
    impressions: pl.DataFrame,
    past: Pasts,
    counts: Cooccurrence,
    *,
    config: NeighbourConfig | None = None,
    with_swing: bool = False,
) -> pl.DataFrame:
    """Compute how often a candidate was liked together with the history of its request.

    Args:
        impressions: request u32, item_id, ts; one row per candidate, any order.
        past: the histories, request by request.
        counts: of all that was liked before the day of the newest request, at least.
        config: how they are summed up; the defaults when None.
        with_swing: whether Swing is told of, which must have been counted.

    Returns:
        One row per impression, same order, with the columns of the group "collaborative" of
        `features.schema`, and of "swing". Null where nobody has liked the candidate before the day,
        or nothing is to compare with.
    """
    config = config or NeighbourConfig()
    history_RS = history_slots(past, counts, config.slots + 1)
    candidate_N = counts.rows_of(impressions["item_id"])
    request_N = impressions["request"].to_numpy().astype(np.int64)
    day_N = days_of(impressions["ts"])
    blocks = []
    for start in range(0, max(len(candidate_N), 1), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        history_BS = history_RS[request_N[part]]
        found = _found(counts, candidate_N[part], history_BS, day_N[part], with_swing=with_swing)
        blocks.append(_summary(found, config))
    names = (*NAMES, *SWING_NAMES) if with_swing else NAMES
    return pl.DataFrame(_columns(names, np.concatenate(blocks), request_N, config))


def collaborative_columns_now(
    item_ids: pl.Series,
    past: Pasts,
    neighbours: Neighbours,
    day: int,
    *,
    config: NeighbourConfig,
    with_swing: bool = False,
) -> dict[str, pl.Series]:
    """Return the columns of `collaborative_features` for the candidates of one request.

    Few candidates and one history: each of its items is looked up among its own neighbours, and not
    among the pairs of all.

    Args:
        item_ids: the candidates.
        past: the history of the request.
        neighbours: of all that was liked before the day.
        day: of the request; see `features.daily_sums.days_of`.
        config: how neighbours are summed up.
        with_swing: as of `collaborative_features`.
    """
    counts = neighbours.counts
    candidate_N = counts.rows_of(item_ids)
    history_1S = history_slots(past, counts, config.slots + 1)
    found: Found = {NAMES: neighbours.cosines(candidate_N, history_1S[0], day)}
    if with_swing:
        found[SWING_NAMES] = neighbours.swings(candidate_N, history_1S[0], day)
    is_known_N = (candidate_N >= 0) & (
        counts.users(candidate_N, np.full(len(candidate_N), day)) > 0
    )
    for names, value_NS in found.items():
        value_NS[:, history_1S[0] == NO_MORE] = np.nan
        value_NS[~is_known_N] = np.nan
        found[names] = _without(candidate_N, history_1S, value_NS)
    names = tuple(name for group in found for name in group)
    request_N = np.zeros(len(candidate_N), dtype=np.int64)
    return _columns(names, _summary(found, config), request_N, config)


def _columns(
    names: Sequence[str], values: np.ndarray, request_N: np.ndarray, config: NeighbourConfig
) -> dict[str, pl.Series]:
    column_of = {name: values[:, number] for number, name in enumerate(names)}
    relative = {name: column_of[name] for name in config.relative if name in column_of}
    return {
        **{name: pl.Series(column, nan_to_null=True) for name, column in column_of.items()},
        **relative_columns(relative, request_N),
    }


def history_slots(past: Pasts, counts: Cooccurrence, slots: int) -> np.ndarray:
    """Return [R, slots] numbers of the newest history items; -1 not liked yet, -2 no more items."""
    slot_P = np.arange(len(past.item_ids)) - past.first_R[past.request_P]
    rows = np.full((len(past.first_R) - 1, slots), NO_MORE, dtype=np.int64)
    is_kept_P = slot_P < slots
    found_P = counts.rows_of(past.item_ids)
    rows[past.request_P[is_kept_P], slot_P[is_kept_P]] = found_P[is_kept_P]
    return rows


def _found(
    counts: Cooccurrence,
    candidate_B: np.ndarray,
    history_BS: np.ndarray,
    day_B: np.ndarray,
    *,
    with_swing: bool,
) -> Found:
    """Look up every candidate with every item of its history."""
    history_BS = _without(candidate_B, history_BS, history_BS)
    is_known_B = (candidate_B >= 0) & (counts.users(candidate_B, day_B) > 0)
    is_compared_BS = (history_BS != NO_MORE) & is_known_B[:, None]
    row_M, slot_M = np.nonzero((history_BS >= 0) & is_known_B[:, None])
    pairs = candidate_B[row_M], history_BS[row_M, slot_M], day_B[row_M]
    found: Found = {NAMES: np.where(is_compared_BS, 0.0, np.nan)}
    found[NAMES][row_M, slot_M] = counts.cosines(*pairs)
    if with_swing:
        found[SWING_NAMES] = np.where(is_compared_BS, 0.0, np.nan)
        found[SWING_NAMES][row_M, slot_M] = counts.swings(*pairs)
    return found


def _without(candidate_B: np.ndarray, history_BS: np.ndarray, value_BS: np.ndarray) -> np.ndarray:
    """Return [B, S - 1] values: the candidate's own slot closed up, or the oldest left out.

    Args:
        candidate_B: numbers of the candidates.
        history_BS: numbers of what they are compared with, or [1, S] of all of them.
        value_BS: what is told of each slot.
    """
    is_own_BS = (history_BS == candidate_B[:, None]) & (candidate_B[:, None] >= 0)
    is_past_BS = np.cumsum(is_own_BS, axis=1)[:, :-1] > 0
    return np.where(is_past_BS, value_BS[:, 1:], value_BS[:, :-1])


def _summary(found: Found, config: NeighbourConfig) -> np.ndarray:
    """Return [B, 7] float32 the columns of `NAMES`, or [B, 11] with those of `SWING_NAMES`."""
    cosine_BS = found[NAMES]
    size_B = np.isfinite(cosine_BS).sum(axis=1)
    filled_BS = np.nan_to_num(cosine_BS)
    num_B = np.maximum(size_B, 1)
    decayed_B, max_B, top3_B, last5_B = _sums(filled_BS, num_B, config)
    columns = [
        decayed_B,
        filled_BS.sum(axis=1) / num_B,
        max_B,
        top3_B,
        filled_BS[:, 0],
        last5_B,
        (filled_BS > 0).sum(axis=1) / num_B,
    ]
    if SWING_NAMES in found:
        columns += _sums(np.nan_to_num(found[SWING_NAMES]), num_B, config)
    table = np.stack(columns, axis=1).astype(np.float32)
    table[size_B == 0] = np.nan
    return table


def _sums(
    value_BS: np.ndarray, num_B: np.ndarray, config: NeighbourConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return [B] the decayed sum, the largest, the mean of 3 and the largest of the 5 newest.

    Args:
        value_BS: newest first, 0 for none.
        num_B: how many there are, at least 1.
        config: the decay.
    """
    best_B3 = -np.sort(-value_BS, axis=1)[:, :3]
    return (
        (value_BS * config.decay ** np.arange(value_BS.shape[1])).sum(axis=1),
        best_B3[:, 0],
        best_B3.sum(axis=1) / np.minimum(num_B, 3),
        value_BS[:, :5].max(axis=1),
    )
