"""How the trees of a ranker are grown.

What the defaults were chosen on is in docs/ranker.md.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import msgspec

Objective = Literal["lambdarank", "binary"]
"""`lambdarank`: the order inside a request. `binary`: whether a row is relevant, as a probability
that compares between requests."""

MAX_RELEVANCE = 30
"""The largest label: LightGBM's gains end at 2^30."""

LEAF_SHARE = 40
"""Where rows are few, a leaf holds at least one in so many of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankerConfig:
    """How trees are grown."""

    objective: Objective = "lambdarank"

    num_leaves: int = 7
    learning_rate: float = 0.05

    num_rounds: int = 100
    """Trees of each member; there is no early stopping. Stopping on the newest requests reads noise
    (4 to 35 trees from one world to the next) and keeps the newest from being learnt from."""

    num_members: int = 3
    """Models whose mean is the score, each grown on other requests and features."""

    min_data_in_leaf: int = 100
    """Rows of a leaf, at least; of a log with fewer than 4,000 rows, a fortieth of them."""

    bagging_share: float = 0.8
    """Requests that each tree is grown on, as a share; drawn whole."""

    feature_share: float = 0.8
    """Features that each tree is grown on, as a share."""

    truncation_level: int = 30
    """Places from the top whose pairs are learnt from; of `lambdarank`."""

    position_bias: bool = True
    """Estimate what being shown higher does by itself, and take it off, where the table has a
    column `position` of the place (0 = first) at which an item was shown; of `lambdarank`."""

    monotone: Mapping[str, int] = field(default_factory=dict)
    """Feature -> 1: the score never falls when it rises; -1: never rises."""

    lightgbm: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """Further parameters, as LightGBM names them; none of those above."""

    seed: int = 0
    """Of the trees and of the order of rows inside a request."""

    num_threads: int = 1
    """Equal results need an equal number."""

    def __post_init__(self) -> None:
        for name in ("num_rounds", "num_members", "min_data_in_leaf", "num_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.num_leaves < 2:
            raise ValueError(f"num_leaves must be >= 2, got {self.num_leaves}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be > 0, got {self.learning_rate}")
        for name in ("bagging_share", "feature_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {getattr(self, name)}")
        if wrong := {name: sign for name, sign in self.monotone.items() if sign not in (-1, 1)}:
            raise ValueError(f"monotone must be 1 or -1 by feature, got {wrong}")
        if taken := sorted(set(self.lightgbm) & set(self._own(num_rows=1, member=0, names=()))):
            raise ValueError(
                f"lightgbm must hold no parameter that has a field of its own, got {taken}"
            )

    @property
    def members(self) -> range:
        """The numbers of the models that are averaged."""
        return range(self.num_members)

    def params(self, *, num_rows: int, member: int, names: tuple[str, ...]) -> dict[str, Any]:
        """Return LightGBM's parameters for one member.

        Args:
            num_rows: it is trained on.
            member: its number, from 0.
            names: of the features, in order.
        """
        return self._own(num_rows=num_rows, member=member, names=names) | dict(self.lightgbm)

    def _own(self, *, num_rows: int, member: int, names: tuple[str, ...]) -> dict[str, Any]:
        chosen: dict[str, Any] = {
            "objective": self.objective,
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": min(self.min_data_in_leaf, max(num_rows // LEAF_SHARE, 1)),
            "bagging_fraction": self.bagging_share,
            "bagging_freq": 1,
            "feature_fraction": self.feature_share,
            "lambdarank_truncation_level": self.truncation_level,
            "monotone_constraints": [self.monotone.get(name, 0) for name in names],
            "seed": self.seed,
            "bagging_seed": self.seed + 1000 * member + 1,
            "feature_fraction_seed": self.seed + 1000 * member + 2,
            "num_threads": self.num_threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        if self.objective == "lambdarank":
            chosen["bagging_by_query"] = True
        return chosen


def read_config(path: Path) -> RankerConfig:
    """Read a TOML file of a config's fields.

    Raises:
        ValueError: it cannot be read, or holds an unknown field or a value out of range.
    """
    known = [field.name for field in fields(RankerConfig)]
    try:
        values = tomllib.loads(path.read_text())
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown field {unknown[0]!r}")
        return msgspec.convert(values, RankerConfig)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} must hold fields of a ranker ({', '.join(known)}): {error}"
        ) from error
