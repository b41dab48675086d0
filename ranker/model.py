"""The ranker: trained trees, and the features that they must be fed."""

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
import polars as pl

from features.centred_embeddings import Centring
from features.table import FeatureTable
from ranker.config import RankerConfig


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """A trained model and what it must be fed."""

    booster: lightgbm.Booster
    feature_names: tuple[str, ...]
    """Columns read, in order; the feature groups left out of training are not among them."""

    schema_hash: str
    """Of the whole table it was trained on."""

    centring: Centring
    """Of that table: `CentredEmbeddings.of` makes embeddings from it whose features compare."""

    config: RankerConfig

    @property
    def model_version(self) -> str:
        """Embedder version of the vectors behind the features."""
        return self.centring.model_version

    def predict(self, table: FeatureTable) -> np.ndarray:
        """Return [N] float64 scores, higher is better; comparable within a request.

        Raises:
            ValueError: the table has other features or vectors than the ranker was trained on.
        """
        self.check(table.schema_hash, table.model_version)
        return self.booster.predict(
            feature_matrix(table.frame, self.feature_names), num_threads=self.config.num_threads
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
        gains = self.booster.feature_importance("gain")
        total = max(float(gains.sum()), 1e-300)
        pairs = zip(self.feature_names, (float(gain) / total for gain in gains), strict=True)
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def feature_matrix(frame: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return [N, features] float32, NaN where a feature is missing."""
    return frame.select(pl.col(list(names)).cast(pl.Float32)).to_numpy()
