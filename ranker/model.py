"""The ranker: trained trees, and the features that they must be fed.

Shape legend: N = rows, F = features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from features.centring import Centring
from features.groups import FeatureGroup
from features.table import FeatureTable
from ranker.config import RankerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedOn:
    """What a ranker has seen."""

    data_hash: str
    """Of the export; empty where the table came from none."""

    num_rows: int
    num_requests: int

    first_ts: datetime
    """Of the oldest request."""

    last_ts: datetime
    """Of the newest request: it is no test for what came until then."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """A trained model and what it must be fed."""

    boosters: tuple[lightgbm.Booster, ...]
    """The members, whose mean is the score."""

    feature_names: tuple[str, ...]
    """Columns read, in order; the feature groups left out of training are not among them."""

    groups: tuple[FeatureGroup, ...]
    """Of the whole table it was trained on."""

    schema_hash: str
    """Of that table."""

    centring: Centring
    """Of that table: `CentredEmbeddings.of` makes embeddings from it whose features compare."""

    config: RankerConfig

    trained_on: TrainedOn

    @property
    def model_version(self) -> str:
        """Embedder version of the vectors behind the features."""
        return self.centring.model_version

    @property
    def num_trees(self) -> int:
        """Trees of all members together."""
        return sum(booster.num_trees() for booster in self.boosters)

    def predict(self, table: FeatureTable, *, num_trees: int | None = None) -> np.ndarray:
        """Return [N] float64 scores, higher is better; comparable within a request.

        Those of the objective `binary` are log-odds, and compare between requests too.

        Args:
            table: of the features trained on.
            num_trees: the first trees of each member; all when None.

        Raises:
            ValueError: the table has other features or vectors than the ranker was trained on.
        """
        self.check_table(table)
        columns = feature_columns(table.frame, self.feature_names)
        return self._mean(columns, raw_score=True, num_iteration=num_trees)

    def contributions(self, table: FeatureTable) -> np.ndarray:
        """Return [N, F + 1] what each feature adds to each row's score, then what all rows have.

        Tree SHAP (Lundberg and Lee 2017); a row sums to its score.

        Raises:
            ValueError: as of `predict`.
        """
        self.check_table(table)
        # Only a matrix: LightGBM 4.7 reads Arrow for predictions, and not for contributions.
        matrix_NF = table.frame.select(pl.col(list(self.feature_names)).cast(pl.Float32)).to_numpy()
        return self._mean(matrix_NF, pred_contrib=True)

    def check_table(self, table: FeatureTable) -> None:
        """Refuse a table of other features; see `check`."""
        self.check(table.schema_hash, table.model_version)
        if table.centring != self.centring:
            raise ValueError(
                f"the ranker must get features centred as those of its training "
                f"({self.centring.id}), got {table.centring.id}; export with the same reference, "
                "or train anew"
            )

    def check(self, schema_hash: str, model_version: str) -> None:
        """Refuse features that only look like the ones trained on.

        Raises:
            ValueError: another schema, or vectors of another model version.
        """
        if schema_hash != self.schema_hash:
            raise ValueError(
                f"the ranker must get features of schema {self.schema_hash}, got {schema_hash}; "
                "export again with the code and configuration it was trained with, or train anew"
            )
        if model_version != self.model_version:
            raise ValueError(
                f"the ranker must get features of embedder {self.model_version!r}, got "
                f"{model_version!r}; train a ranker on an export of that version"
            )

    def importances(self) -> dict[str, float]:
        """Return each feature's share of the total gain, largest first, ties by name."""
        gains = np.sum([b.feature_importance("gain") for b in self.boosters], axis=0)
        total = max(float(gains.sum()), 1e-300)
        pairs = zip(self.feature_names, (float(gain) / total for gain in gains), strict=True)
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def _mean(self, rows: Any, **how: Any) -> np.ndarray:
        parts = [b.predict(rows, num_threads=self.config.num_threads, **how) for b in self.boosters]
        return np.mean(parts, axis=0)


def feature_columns(frame: pl.DataFrame, names: Sequence[str]) -> Any:
    """Return the features as an Arrow table, which shares the frame's memory."""
    return frame.select(pl.col(list(names))).to_arrow()
