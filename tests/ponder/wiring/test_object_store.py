"""A lake and artefacts in a store that speaks S3: machines that share nothing else."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import polars as pl
import pytest

from catalog.ingest.rows import item_frame
from catalog.lake.tables import ITEMS
from catalog.records import Item
from features.export import read_manifest
from ponder.settings import Settings
from ponder.steps.embed import embed, plan
from ponder.steps.features import export_features
from ponder.steps.land import land_folder
from ponder.steps.rank import registered_rankers, train_ranker
from ponder.wiring.stores import open_lake
from tests.ponder.wiring.s3_server import bucket, store_options

__all__ = ["bucket", "store_options"]
pytestmark = pytest.mark.integration


@pytest.fixture
def machine(tmp_path, bucket, store_options):
    """Makes machines with homes of their own and one bucket."""

    def make(name):
        return Settings(
            home=tmp_path / name,
            lake=f"s3://{bucket}/lake",
            artifacts=f"s3://{bucket}/artifacts",
            lake_options=store_options,
        )

    return make


def test_a_night_is_shared_by_machines_that_have_a_bucket_in_common(machine, bazaar):
    land_folder(machine("lands"), bazaar)
    done = [embed(machine("embeds"), shard) for shard in plan(machine("plans")).shards]
    items = open_lake(machine("reads")).read(ITEMS, ["deleted"])
    assert sum(each.embedded for each in done) == items.filter(~pl.col("deleted")).height > 0
    export_features(machine("exports"))
    trained = train_ranker(machine("ranks"))
    [ranker] = registered_rankers(machine("looks"))
    assert ranker.name == trained.name
    assert read_manifest(machine("exports").features_folder) == read_manifest(
        machine("ranks").features_folder
    )
    assert {path.name for path in machine("lands").home.glob("*")} <= {"artifacts", "vectors"}


def test_writers_of_one_table_lose_nothing_to_each_other(machine):
    at = datetime(2026, 3, 1, tzinfo=UTC)

    def land(writer):
        lake = open_lake(machine(f"writer-{writer}"))
        for number in range(5):
            row = Item(item_id=f"{writer}-{number}", updated_at=at)
            lake.upsert_items(item_frame([row], [None]))

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(land, range(4)))
    found = open_lake(machine("reader")).read(ITEMS, ["item_id"])["item_id"].sort().to_list()
    assert found == sorted(f"{writer}-{number}" for writer in range(4) for number in range(5))
