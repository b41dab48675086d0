"""Behaviour features: how near a candidate lies to what its user liked, by who likes what together.

The same sums as those of the embedder's vectors, in the behaviour spaces of the reference.

Legend: N = impressions, R = requests, B = impressions of one block, P = items of all histories.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from features import similarity_sums as sums
from features.behaviour_spaces import BehaviourSpaceConfig, BehaviourSpaces
from features.grouped_requests import Groups
from features.histories import Pasts
from features.history_profiles import Profiles
from features.relative import relative_columns
from features.similarity import Compared, in_blocks
from features.similarity_sums import Cosines

NAMES = (
    *("behaviour_max", "behaviour_top3_mean", "behaviour_mean"),
    *("behaviour_last", "behaviour_profile"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourConfig:
    """Which behaviour features are made."""

    slots: int = 50
    """Newest history items compared, the candidate left out before they are counted."""

    half_life_days: float = 7.0
    """An item of this age weighs half in `behaviour_profile`."""

    relative: tuple[str, ...] = ("behaviour_max", "behaviour_profile")
    """Features that are also given as their rank and their gap within the request."""

    spaces: BehaviourSpaceConfig = field(default_factory=BehaviourSpaceConfig)
    """How a reference makes the spaces."""

    def __post_init__(self) -> None:
        if self.slots <= 0 or self.half_life_days <= 0:
            raise ValueError(
                f"slots and half_life_days must be > 0, got {self.slots} and {self.half_life_days}"
            )
        if unknown := set(self.relative) - set(NAMES):
            raise ValueError(f"relative must name some of {NAMES}, got {sorted(unknown)}")


def behaviour_columns(
    item_ids: pl.Series,
    request_N: np.ndarray,
    day_R: np.ndarray,
    past: Pasts,
    spaces: BehaviourSpaces | None,
    *,
    config: BehaviourConfig,
) -> dict[str, pl.Series]:
    """Return the columns of the group "behaviour" of `features.schema`.

    Null where the candidate has no vector in the space of the request's day, where nothing of the
    history has one, and before the first space begins.

    Args:
        item_ids: [N] the candidates.
        request_N: of each its request, a row of the histories.
        day_R: of each request; see `features.daily_sums.days_of`.
        past: the histories.
        spaces: of the reference; None: it has none.
        config: which features.
    """
    values = np.full((len(item_ids), len(NAMES)), np.nan, dtype=np.float32)
    if spaces is not None and len(item_ids):
        values = _values(item_ids, request_N, day_R, past, spaces, config)
    column_of = {name: values[:, number] for number, name in enumerate(NAMES)}
    return {
        **{name: pl.Series(column, nan_to_null=True) for name, column in column_of.items()},
        **relative_columns({name: column_of[name] for name in config.relative}, request_N),
    }


def _values(
    item_ids: pl.Series,
    request_N: np.ndarray,
    day_R: np.ndarray,
    past: Pasts,
    spaces: BehaviourSpaces,
    config: BehaviourConfig,
) -> np.ndarray:
    """Return [N, 5] float32 the columns of `NAMES`, NaN for null."""
    groups = Groups.of(
        spaces.rows_of(item_ids, day_R[request_N]),
        request_N,
        past,
        spaces.rows_of(past.item_ids, day_R[past.request_P]),
        spaces.rows,
        slots=config.slots,
    )
    profiles = Profiles(half_lives_h=(24 * config.half_life_days,))
    return in_blocks([groups], spaces.rows, [profiles], _summed_up, num_columns=len(NAMES))


def _summed_up(kinds: Sequence[Compared]) -> np.ndarray:
    compared = kinds[0]
    cosines = Cosines.of(compared.cosine_SB)
    best_KB = cosines.largest(3)
    rows = [
        sums.told(best_KB[0]),
        sums.mean_of(best_KB, 3),
        cosines.mean(),
        compared.cosine_SB[0],
        compared.profile_TB[0],
    ]
    return np.stack(rows, dtype=np.float32, casting="same_kind")
