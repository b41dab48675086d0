"""How the trees of a ranker are grown."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RankerConfig:
    """How trees are grown."""

    num_leaves: int = 31
    learning_rate: float = 0.05

    num_rounds: int = 300
    """Trees at most."""

    early_stopping_rounds: int = 30
    """Stop when ndcg@10 on the validation requests has not risen for so many trees."""

    validation_share: float = 0.1
    """Newest share of the training requests, held out to stop by; 0 grows all trees."""

    min_data_in_leaf: int = 20
    truncation_level: int = 30
    """Places from the top whose pairs are learnt from."""

    seed: int = 0
    """Of the trees and of the order of rows inside a request."""

    num_threads: int = 1
    """Equal results need an equal number."""

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"validation_share must be in [0, 1), got {self.validation_share}")
        if min(self.num_rounds, self.early_stopping_rounds) <= 0:
            raise ValueError(
                "num_rounds and early_stopping_rounds must be > 0, got "
                f"{self.num_rounds} and {self.early_stopping_rounds}"
            )

    def params(self) -> dict[str, Any]:
        """Return LightGBM's parameters."""
        return {
            "objective": "lambdarank",
            "metric": "ndcg",
            "eval_at": [10],
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.min_data_in_leaf,
            "lambdarank_truncation_level": self.truncation_level,
            "seed": self.seed,
            "num_threads": self.num_threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
