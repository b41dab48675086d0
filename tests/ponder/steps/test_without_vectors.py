"""Catalogues without vectors train a ranker and recommend, and so do those that have some."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EMBEDDINGS, ITEMS
from features.export import read_export
from ponder.settings import Settings
from ponder.steps.features import export_features
from ponder.steps.land import land_folder
from ponder.steps.rank import train_ranker
from ponder.steps.recommend import recommend
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake
from ranker.config import RankerConfig

START = datetime(2026, 3, 1, tzinfo=UTC)
NUM_USERS, NUM_ITEMS = 24, 16
SMALL = RankerConfig(num_rounds=10, num_members=1, min_data_in_leaf=5)


def preference_of(number):
    """Users and items of one half like each other."""
    return number % 2


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Ratings of items of which nothing is known but their ids; nobody rated the last two."""
    folder, home = tmp_path_factory.mktemp("ratings"), tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    items = [{"item_id": f"i{n:02d}", "updated_at": START.isoformat()} for n in range(NUM_ITEMS)]
    events = []
    for user in range(NUM_USERS):
        mine = [n for n in range(NUM_ITEMS - 2) if preference_of(n) == preference_of(user)]
        for place, n in enumerate(rng.choice(mine, 6, replace=False)):
            at = START + timedelta(days=place, hours=user)
            row = {"user_id": f"u{user:02d}", "item_id": f"i{n:02d}", "action": "rating"}
            events.append(row | {"event_id": f"{user}-{place}", "value": 5, "ts": at.isoformat()})
    for name, rows in (("items", items), ("events", events)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Settings(home=home)
    land_folder(settings, folder)
    return settings


def match_columns(table):
    return [each.name for each in table.features if each.name.startswith("match_")]


def test_ratings_alone_train_a_ranker_and_recommend_what_is_liked_together(settings):
    done = export_features(settings)
    table = read_export(settings.features_folder)
    assert (done.protocol, table.centring.mean) == ("leave_last_out", ())
    assert not table.frame["has_vector"].any()
    of_vectors = table.frame.select(match_columns(table))
    assert set(of_vectors["match_category_size"]) == {0}  # a count: nothing was compared
    known = of_vectors.drop("match_category_size").null_count().row(0)
    assert set(known) == {len(table.frame)}
    assert train_ranker(settings, config=SMALL).promoted
    found = recommend(settings, "u03", top_k=4, strict=True, explain=True)
    assert found.version == configured_version(settings)
    assert found.fallback == ""
    assert {preference_of(int(row.item_id[1:])) for row in found.candidates[:1]} == {1}
    assert any("collaborative" in row.channels and row.because for row in found.candidates)
    assert {row.recall_score for row in found.candidates} == {None}
    stranger = recommend(settings, "nobody")
    assert "no version is live" in stranger.fallback
    assert len(stranger.candidates) == NUM_ITEMS


def test_some_vectors_are_compared_and_the_other_items_stay(settings):
    export_features(settings)
    lake = open_lake(settings)
    rows = lake.scan(ITEMS).select("item_id", "content_hash").sort("item_id").head(10).collect()
    rng = np.random.default_rng(1)
    vectors = pl.Series(rng.normal(size=(10, 4)).tolist(), dtype=pl.List(pl.Float32))
    made = rows.with_columns(vector=vectors, model_version=pl.lit(configured_version(settings)))
    others = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in EMBEDDINGS.schema.items()
        if name not in made.columns
    ]
    lake.insert_new(EMBEDDINGS, made.with_columns(others).select(EMBEDDINGS.schema.names()))
    assert export_features(settings).reference == "default/2"  # the first was of no vectors
    table = read_export(settings.features_folder)
    has_vector = table.frame["has_vector"]
    assert (table.frame["item_id"].is_in(rows["item_id"].implode()) == has_vector).all()
    assert 0 < has_vector.sum() < len(has_vector)
    assert table.frame.filter(~has_vector)["match_max"].null_count() == (~has_vector).sum()
    assert table.frame.filter(has_vector)["match_max"].drop_nulls().len() > 0
    train_ranker(settings, config=SMALL)
    assert {row.item_id for row in recommend(settings, "u03", top_k=30).candidates} > {"i12"}
