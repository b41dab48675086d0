"""What Feast and DuckDB make of the files of `bench.feature_export`, by a Python that has both.

    PYTHON bench/feast_join.py FOLDER

Feast joins the states of items to the impressions, each as of just before its request (its offline
store `duckdb`); DuckDB computes the cosines, by the statement that the other rival runs. Prints the
seconds of both together, registering what there is left out.
"""

import sys
import time
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, UnixTimestamp

JUST = pd.Timedelta(microseconds=1)
"""Feast takes a state of the very moment, and ours is strictly before it."""


def open_store(folder: Path) -> FeatureStore:
    """Register the states of items as a feature view."""
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store={"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="states",
        entities=[item],
        ttl=timedelta(days=36_500),
        schema=[Field(name="price", dtype=Float64), Field(name="created_at", dtype=UnixTimestamp)],
        source=FileSource(path=str(folder / "states.parquet"), timestamp_field="since"),
    )
    store.apply([item, view])
    return store


def joined(store: FeatureStore, folder: Path) -> pd.DataFrame:
    """Return the impressions with price and age of their items as they were."""
    asked = pd.read_parquet(folder / "impressions.parquet")
    asked["event_timestamp"] = asked["ts"] - JUST
    names = ["states:price", "states:created_at"]
    return store.get_historical_features(entity_df=asked, features=names).to_df()


def main() -> None:
    """Join, compute and write; print the seconds."""
    folder = Path(sys.argv[1])
    store = open_store(folder)
    started = time.perf_counter()
    about = joined(store, folder)
    with duckdb.connect() as database:
        database.execute("SET threads = 2")
        database.register("about", about)
        database.execute((folder / "feast.sql").read_text())
    sys.stdout.write(f"{time.perf_counter() - started}\n")


if __name__ == "__main__":
    main()
