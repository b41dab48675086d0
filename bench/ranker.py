"""A ranker trained from an export, and a request ranked, against LightGBM alone.

    python -m bench.ranker

Training: ours reads an export from its files, checks it, puts it in order and trains the default
ranker; the rival is `lightgbm.train` with the same parameters on arrays that lie ready, in the same
order. Both must grow the same trees, which is asserted before a time counts.

Serving: 500 candidates of a user with a history of 50 get their features and their scores; the
rival is the prediction alone, of features that lie ready. Alternating, the best of several rounds.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from catalog.lake.tables import EVENTS, TIME
from features.centred_embeddings import CentredEmbeddings
from features.cooccurrence import cooccurrence
from features.export import Export, read_export
from features.requests import numbered
from features.table import FeatureTable, build_features
from ranker.config import RankerConfig
from ranker.model import Ranker
from ranker.training import train
from ranker.training_rows import shuffled

START = datetime(2026, 1, 1, tzinfo=UTC)
NUM_ITEMS, NUM_USERS, DIM = 2_000, 200, 64
PER_PAGE, LIKED, CANDIDATES = 20, 50, 500


def world(seed: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return events, items and vectors; every user has liked 50 items before the first page."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"i{n:04d}" for n in range(NUM_ITEMS)])
    likes = np.concatenate([rng.choice(NUM_ITEMS, LIKED, replace=False) for _ in range(NUM_USERS)])
    users = np.repeat(np.arange(NUM_USERS), LIKED)
    events = pl.DataFrame(
        {
            "event_id": [str(n) for n in range(len(likes))],
            "user_id": [f"u{user}" for user in users],
            "item_id": ids[likes],
            "action": "like",
            "ts": [START - timedelta(minutes=int(n)) for n in rng.integers(1, 40_000, len(likes))],
        }
    )
    missing = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in EVENTS.schema.items()
        if name not in events.columns
    ]
    events = events.with_columns(*missing).select(
        pl.col(name).cast(dtype) for name, dtype in EVENTS.schema.items()
    )
    items = pl.DataFrame(
        {"item_id": ids, "category": "c", "created_at": START - timedelta(days=90)},
        schema_overrides={"created_at": TIME},
    )
    vectors = pl.DataFrame(
        {
            "item_id": ids,
            "vector": rng.normal(size=(NUM_ITEMS, DIM)).astype(np.float32).tolist(),
            "model_version": "v",
        },
        schema_overrides={"vector": pl.List(pl.Float32)},
    )
    return events, items, vectors


def pages(num_pages: int, seed: int) -> pl.DataFrame:
    """Return impressions of pages with random relevance, two of twenty relevant."""
    rng = np.random.default_rng(seed)
    shown = np.concatenate(
        [rng.choice(NUM_ITEMS, PER_PAGE, replace=False) for _ in range(num_pages)]
    )
    page = np.repeat(np.arange(num_pages), PER_PAGE)
    return pl.DataFrame(
        {
            "request_id": [f"r{n}" for n in page],
            "user_id": [f"u{n % NUM_USERS}" for n in page],
            "item_id": [f"i{n:04d}" for n in shown],
            "ts": [START + timedelta(minutes=int(n)) for n in page],
            "relevance": (rng.random(len(shown)) < 0.1).astype(np.int32),
        },
        schema_overrides={"ts": TIME},
    )


def bare(table: FeatureTable, ranker: Ranker, config: RankerConfig) -> Callable[[], list[Any]]:
    """Return LightGBM's training alone, over arrays that lie ready."""
    rows = shuffled(table.frame, config.seed)
    names = ranker.feature_names
    data_NF = rows.select(pl.col(list(names)).cast(pl.Float32)).to_numpy()
    label_N = rows["relevance"].to_numpy()
    group_G = numbered(rows).group_by("request", maintain_order=True).len()["len"].to_numpy()
    params = [config.params(num_rows=len(rows), member=m, names=names) for m in config.members]

    def run() -> list[Any]:
        data = lightgbm.Dataset(
            data_NF,
            label=label_N,
            group=group_G,
            feature_name=list(names),
            params=params[0],
        )
        return [lightgbm.train(one, data, num_boost_round=config.num_rounds) for one in params]

    return run


def write(table: FeatureTable, folder: Path) -> None:
    """Write an export of all days of the table."""
    export = Export(folder, table.features, table.centring, table.config)
    for _, rows in table.frame.group_by(pl.col("ts").dt.date(), maintain_order=True):
        export.write_day(table.with_frame(rows), settled=True)
    export.finish({"version": "v"})


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long something took, and what it made."""
    started = time.perf_counter()
    made = work()
    return time.perf_counter() - started, made


def main() -> None:
    """Measure both, and print JSON."""
    parser = argparse.ArgumentParser(description="Train and rank against LightGBM alone.")
    parser.add_argument("--pages", type=int, default=4_000, help="pages of 20 items to train on")
    parser.add_argument("--rounds", type=int, default=3, help="of each; the best counts")
    options = parser.parse_args()
    config = RankerConfig()
    events, items, vectors = world(seed=0)
    table = build_features(pages(options.pages, seed=1), events, items, vectors)
    folder = Path(tempfile.mkdtemp(prefix="bench-ranker-"))
    write(table, folder)
    ranker = train(table, config=config)
    alone = bare(table, ranker, config)
    best = dict.fromkeys(("train", "bare_train", "rank", "bare_predict"), float("inf"))
    for _ in range(options.rounds):
        took, made = seconds(lambda: train(read_export(folder), config=config))
        best["train"] = min(best["train"], took)
        took, boosters = seconds(alone)
        best["bare_train"] = min(best["bare_train"], took)
        for ours, theirs in zip(made.boosters, boosters, strict=True):
            assert ours.model_to_string() == theirs.model_to_string(), "other trees"
    shutil.rmtree(folder)
    asked = pl.DataFrame({"item_id": items["item_id"].head(CANDIDATES)}).select(
        request_id=pl.lit("r"),
        user_id=pl.lit("u7"),
        item_id="item_id",
        ts=pl.lit(START).cast(TIME),
    )
    centred = CentredEmbeddings.of(vectors, ranker.centring)

    counts = cooccurrence(events)  # a service keeps them, too

    def features() -> FeatureTable:
        return build_features(asked, events, items, vectors, centred=centred, counts=counts)

    def rank() -> np.ndarray:
        return ranker.predict(features())

    ready = features()
    for _ in range(10 * options.rounds):
        best["rank"] = min(best["rank"], seconds(rank)[0])
        best["bare_predict"] = min(best["bare_predict"], seconds(lambda: ranker.predict(ready))[0])
    print(
        json.dumps(
            {
                "unit": "seconds",
                "num_rows": len(table.frame),
                "num_features": len(ranker.feature_names),
                **{name: round(value, 5) for name, value in best.items()},
                "train_ratio": round(best["train"] / best["bare_train"], 3),
                "rank_ratio": round(best["rank"] / best["bare_predict"], 3),
                "load": os.getloadavg()[0],
            }
        )
    )


if __name__ == "__main__":
    main()
