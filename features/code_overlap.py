"""Code features: how many codes a candidate shares with what its user liked.

Codes are an item's semantic ID (docs/codes.md): two items share as many as the number with which
both begin. They are compared as they were given to the vectors that candidate and history had at
the request, by codebooks that a reference has frozen.

Legend: N = impressions, R = requests, B = impressions of one block, E = items of all histories that
have a vector, S = slots, L = levels.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from features import similarity_sums as sums
from features.centred_embeddings import CentredEmbeddings
from features.grouped_requests import Groups
from features.histories import Pasts
from features.match import Asked, grouped
from features.relative import relative_columns

NAMES = (
    *("code_prefix_max", "code_prefix_mean", "code_prefix_decayed", "code_prefix_last"),
    *("code_1_share", "code_2_share", "code_3_share"),
    *("code_1_age_h", "code_2_age_h"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeConfig:
    """Which code features are made."""

    slots: int = 50
    """Newest history items compared, the candidate left out before they are counted."""

    half_life_days: float = 7.0
    """An item of this age weighs half in `code_prefix_decayed`."""

    relative: tuple[str, ...] = ("code_prefix_max", "code_prefix_decayed")
    """Features that are also given as their rank and their gap within the request."""

    def __post_init__(self) -> None:
        if self.slots <= 0 or self.half_life_days <= 0:
            raise ValueError(
                f"slots and half_life_days must be > 0, got {self.slots} and {self.half_life_days}"
            )
        if unknown := set(self.relative) - set(NAMES):
            raise ValueError(f"relative must name some of {NAMES}, got {sorted(unknown)}")


def code_columns(
    asked: Asked, compared: Pasts, centred: CentredEmbeddings, *, config: CodeConfig
) -> dict[str, pl.Series]:
    """Return the columns of the group "codes" of `features.schema`.

    Null where the candidate has no vector, where nothing of the history has one, and where the
    reference has no codebooks. Exact duplicates of the candidate are left out, as those are that
    `features.match` compares.

    Args:
        asked: the candidates.
        compared: what was liked, of items that have a vector.
        centred: the embeddings, with their codes.
        config: which features.

    Raises:
        ValueError: the embeddings carry no codes of the reference's codebooks.
    """
    if centred.centring.codes_id and centred.codes_NL is None and len(centred.item_ids):
        raise ValueError(
            "features of codes must be made of embeddings that carry the codes of the codebooks "
            f"{centred.centring.codes_id!r}, got some without"
        )
    values = np.full((len(asked.item_ids), len(NAMES)), np.nan, dtype=np.float32)
    if centred.codes_NL is not None and len(asked.item_ids):
        groups = grouped(
            asked,
            centred.rows_of(asked.item_ids),
            compared,
            centred.rows_of(compared.item_ids),
            centred,
            config.slots,
        )
        for begin, end in groups.blocks():
            rows = groups.order_N[groups.first_R[begin] : groups.first_R[end]]
            overlap = _overlap(groups, centred, centred.codes_NL, begin, end)
            values[rows] = _summed_up(overlap, config).T
    column_of = {name: values[:, number] for number, name in enumerate(NAMES)}
    return {
        **{name: pl.Series(column, nan_to_null=True) for name, column in column_of.items()},
        **relative_columns({name: column_of[name] for name in config.relative}, asked.request_N),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Overlap:
    """What the candidates of a block share with their histories, newest first."""

    prefix_SB: np.ndarray
    """Codes shared, int8; -1: there is nothing to compare."""

    age_SB: np.ndarray
    """Hours, float32; infinite where there is nothing."""


def _overlap(
    groups: Groups, centred: CentredEmbeddings, codes_NL: np.ndarray, begin: int, end: int
) -> _Overlap:
    """Compare the candidates of a range of requests with their histories."""
    sizes = np.diff(groups.first_R[begin : end + 1])
    candidate_B = groups.candidate_N[groups.first_R[begin] : groups.first_R[end]]
    first_R = groups.first_E[begin:end]
    size_R = np.minimum(groups.first_E[begin + 1 : end + 1] - first_R, groups.slots)
    is_there_RS = np.arange(groups.slots) < size_R[:, None]
    event_RS = np.where(is_there_RS, first_R[:, None] + np.arange(groups.slots), 0)
    if not len(groups.history_E):
        none = np.full((groups.slots, len(candidate_B)), -1, dtype=np.int8)
        return _Overlap(none, np.full(none.shape, np.inf, dtype=np.float32))
    request_B = np.repeat(np.arange(len(sizes)), sizes)
    history_SB = groups.history_E[event_RS].T[:, request_B]
    prefix_SB = _shared(codes_NL[candidate_B], codes_NL[history_SB])
    is_told_SB = is_there_RS.T[:, request_B] & (candidate_B >= 0)
    age_SB = groups.age_E[event_RS].T[:, request_B].astype(np.float32)
    overlap = _Overlap(
        np.where(is_told_SB, prefix_SB, np.int8(-1)),
        np.where(is_there_RS.T[:, request_B], age_SB, np.float32(np.inf)),
    )
    _compare_repeats(groups, centred, codes_NL, begin, end, out=overlap)
    return overlap


def _compare_repeats(
    groups: Groups,
    centred: CentredEmbeddings,
    codes_NL: np.ndarray,
    begin: int,
    end: int,
    *,
    out: _Overlap,
) -> None:
    """Compare candidates that are in their history again, with what is left without them."""
    for row, candidate, events in groups.repeats(begin, end, centred.same_N):
        history_n = groups.history_E[events]
        out.prefix_SB[:, row], out.age_SB[:, row] = -1, np.inf
        out.prefix_SB[: len(events), row] = _shared(codes_NL[candidate], codes_NL[history_n])
        out.age_SB[: len(events), row] = groups.age_E[events]


def _shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return int8 with how many codes both begin alike; the last axis is of levels."""
    alike = np.logical_and.accumulate(one == other, axis=-1)
    return alike.sum(axis=-1, dtype=np.int8)


def _summed_up(overlap: _Overlap, config: CodeConfig) -> np.ndarray:
    """Return [9, B] float32 the columns of `NAMES`, NaN for null."""
    prefix_SB, is_told_SB = overlap.prefix_SB, overlap.prefix_SB >= 0
    num_B = sums.count(is_told_SB)
    known_SB = np.where(is_told_SB, prefix_SB, 0).astype(np.float32)
    weight_SB = _weights(overlap.age_SB, 24 * config.half_life_days) * is_told_SB
    divisor_B = np.maximum(num_B, 1).astype(np.float32)
    weights_B = weight_SB.sum(axis=0)
    rows = [
        known_SB.max(axis=0),
        known_SB.sum(axis=0) / divisor_B,
        (weight_SB * known_SB).sum(axis=0) / np.where(weights_B > 0, weights_B, np.float32(1)),
        known_SB[0],
        *(sums.count(prefix_SB >= length) / divisor_B for length in (1, 2, 3)),
        *(sums.newest_age(overlap.age_SB, prefix_SB >= length) for length in (1, 2)),
    ]
    return np.where(num_B > 0, np.stack(rows), np.nan).astype(np.float32)


def _weights(age_SB: np.ndarray, half_life_h: float) -> np.ndarray:
    """Return weights by age, 1 for the newest item: ages from "now" may all underflow."""
    newest_B = age_SB.min(axis=0)
    since_SB = age_SB - np.where(np.isfinite(newest_B), newest_B, np.float32(0))
    return np.exp2(-since_SB / np.float32(half_life_h))
