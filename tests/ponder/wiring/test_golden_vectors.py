"""Tests for ponder/wiring/golden_vectors.py: kept once, refused when they come out differently."""

import json
import shutil

import polars as pl
import pytest

from catalog.lake.tables import EMBEDDINGS, GOLDEN_VECTORS
from ponder.settings import Settings
from ponder.steps.embed import embed, plan
from ponder.wiring.encoder import open_encoder
from ponder.wiring.golden_vectors import check_golden_vectors
from ponder.wiring.service import open_recall
from ponder.wiring.stores import open_index, open_lake
from recall.query_encoder import Unavailable


@pytest.fixture
def shop(shop_home, tmp_path):
    """A shop whose catalogue is embedded and live."""
    shutil.copytree(shop_home, tmp_path / "shop")
    return Settings(home=tmp_path / "shop")


def change(lake, **columns):
    """What the lake keeps, otherwise."""
    rows = lake.read(GOLDEN_VECTORS).with_columns(**columns)
    lake.delete(GOLDEN_VECTORS, rows.select(GOLDEN_VECTORS.key))
    lake.insert_new(GOLDEN_VECTORS, rows)


def test_the_first_use_of_a_version_keeps_what_it_makes_and_the_second_finds_it(settings):
    lake, encoder = open_lake(settings), open_encoder(settings)
    check_golden_vectors(lake, encoder, keeps=True)
    kept = lake.read(GOLDEN_VECTORS)
    assert kept["content"].sort().to_list() == [
        "item image",
        "item text",
        "item text and image",
        "query text",
    ]
    assert kept["model_version"].unique().to_list() == [encoder.version]
    check_golden_vectors(lake, encoder, keeps=True)
    assert lake.read(GOLDEN_VECTORS).equals(kept)


def test_whoever_only_asks_keeps_nothing(settings):
    lake = open_lake(settings)
    check_golden_vectors(lake, open_encoder(settings), keeps=False)
    assert lake.read(GOLDEN_VECTORS).is_empty()


def test_a_version_that_loads_differently_embeds_nothing_more(shop):
    lake = open_lake(shop)
    change(lake, vector=pl.col("vector").list.reverse(), made_with=pl.lit('{"torch": "1.0"}'))
    lake.delete(EMBEDDINGS, lake.read(EMBEDDINGS).select(EMBEDDINGS.key))
    (shard,) = plan(shop).shards
    with pytest.raises(ValueError, match=r"loads differently \(torch was 1.0, is 2"):
        embed(shop, shard)
    assert lake.read(EMBEDDINGS).is_empty()


def test_a_version_that_loads_differently_answers_no_query(shop):
    change(open_lake(shop), vector=pl.col("vector").list.reverse())
    with open_index(shop) as index, pytest.raises(Unavailable, match="no encoder for version"):
        open_recall(shop, index).encoder.load(open_encoder(shop).version)


def test_it_is_noted_what_made_them(settings):
    lake = open_lake(settings)
    check_golden_vectors(lake, open_encoder(settings), keeps=True)
    made_with = json.loads(lake.read(GOLDEN_VECTORS)["made_with"][0])
    assert {"torch", "transformers", "pillow"} <= set(made_with)
