"""The ranker: LightGBM's LambdaMART over a feature table, and the folder it is kept in."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import polars as pl

from catalog.atomic_file import write_atomically
from features.centred_embeddings import Centring
from features.schema import FeatureGroup, names_of
from features.table import FeatureTable

MODEL, MANIFEST = "model.txt", "manifest.json"
MAX_GROUP_ROWS = 10_000
"""LightGBM stops on a larger one: its table of discounts ends there."""


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
        """LightGBM's parameters."""
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
        """Return [N] float64 the score of every row, higher is better; comparable within a request.

        Raises:
            ValueError: the table has other features or vectors than the ranker was trained on.
        """
        self.check(table.schema_hash, table.model_version)
        return self.booster.predict(
            _matrix(table.frame, self.feature_names), num_threads=self.config.num_threads
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

    def save(self, folder: Path) -> None:
        """Write `model.txt` (LightGBM's text) and then `manifest.json`, which vouches for it."""
        text = self.booster.model_to_string()
        write_atomically(folder / MODEL, text)
        manifest = {
            "model_digest": _digest(text),
            "feature_names": self.feature_names,
            "schema_hash": self.schema_hash,
            "centring": asdict(self.centring),
            "config": asdict(self.config),
            "num_trees": self.booster.num_trees(),
            "lightgbm": lightgbm.__version__,
        }
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1))


def load_ranker(folder: Path) -> Ranker:
    """Read the ranker that was saved to `folder`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the model is not the one its manifest describes, or is of an older code.
    """
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    if "centring" not in manifest:
        raise ValueError(f"{path} must hold a centring, got one of an older code; train again")
    text = (folder / MODEL).read_text()
    if _digest(text) != manifest["model_digest"]:
        raise ValueError(
            f"{folder / MODEL} must be the model its manifest describes, got another one; "
            "a save was cut short or the file was edited, so train again"
        )
    return Ranker(
        lightgbm.Booster(model_str=text),
        tuple(manifest["feature_names"]),
        manifest["schema_hash"],
        msgspec.convert(manifest["centring"], Centring),
        RankerConfig(**manifest["config"]),
    )


def train(
    table: FeatureTable,
    *,
    feature_groups: Sequence[FeatureGroup] = ("context", "match"),
    config: RankerConfig | None = None,
) -> Ranker:
    """Train a ranker of the table's requests by their relevance.

    Rows are put in one order and then shuffled inside each request: LightGBM breaks ties by
    position, so a table that lists what was clicked first would look learnt when it is not.

    Args:
        table: with `relevance`, integers from 0 (LightGBM's gain is 2^relevance - 1).
        feature_groups: which features to use.
        config: the defaults when None.

    Raises:
        ValueError: a request of more than 10,000 rows, or no features.
    """
    config = config or RankerConfig()
    names = names_of(table.features, feature_groups)
    if not names:
        raise ValueError(f"feature_groups must name features, got {list(feature_groups)}")
    _check_group_sizes(table.frame)
    rows = _shuffled(table.frame, config.seed)
    fitted, held_out = _newest_out(rows, config.validation_share)
    data = _dataset(fitted, names)
    stopping: dict[str, Any] = {}
    if len(held_out):
        stopping = {
            "valid_sets": [data.create_valid(**_arrays(held_out, names))],
            "callbacks": [lightgbm.early_stopping(config.early_stopping_rounds, verbose=False)],
        }
    booster = lightgbm.train(config.params(), data, num_boost_round=config.num_rounds, **stopping)
    if stopping:  # keep only the trees up to the best round, so that saved and live are equal
        booster = lightgbm.Booster(
            model_str=booster.model_to_string(num_iteration=booster.best_iteration)
        )
    return Ranker(booster, tuple(names), table.schema_hash, table.centring, config)


def _check_group_sizes(frame: pl.DataFrame) -> None:
    large = frame.group_by("request_id").len().filter(pl.col("len") > MAX_GROUP_ROWS)
    if len(large):
        first = large.sort("request_id").row(0)
        raise ValueError(
            f"a request must have at most {MAX_GROUP_ROWS} rows to train on, got {first[1]} in "
            f"{first[0]!r} and more in {len(large) - 1} others; sample its negatives"
        )


def _shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Requests by time, rows of each in an order that only the seed decides."""
    ordered = frame.sort("ts", "request_id", "item_id")
    shuffle = pl.Series("shuffle", np.random.default_rng(seed).permutation(len(ordered)))
    return ordered.with_columns(shuffle).sort("ts", "request_id", "shuffle").drop("shuffle")


def _newest_out(rows: pl.DataFrame, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    requests = rows.select("request_id").unique(maintain_order=True).with_row_index("place")
    first_out = len(requests) - round(share * len(requests))
    place = rows.join(requests, on="request_id", how="left", maintain_order="left")["place"]
    return rows.filter(place < first_out), rows.filter(place >= first_out)


def _dataset(rows: pl.DataFrame, names: Sequence[str]) -> lightgbm.Dataset:
    return lightgbm.Dataset(**_arrays(rows, names), feature_name=list(names))


def _arrays(rows: pl.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {
        "data": _matrix(rows, names),
        "label": rows["relevance"].to_numpy(),
        "group": rows.select(pl.col("request_id").rle().struct.field("len")).to_series().to_numpy(),
    }


def _matrix(frame: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """[N, features] float32, NaN where a feature is missing."""
    return frame.select(pl.col(list(names)).cast(pl.Float32)).to_numpy()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
