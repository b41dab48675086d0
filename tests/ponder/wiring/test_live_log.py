"""Tests for ponder/wiring/live_log.py: a request of now gets the features of the whole log."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from catalog.lake.item_codes import codes_in_use
from catalog.lake.tables import TIME
from embedder.codes.config import CodesConfig
from features.centred_embeddings import CentredEmbeddings
from features.cooccurrence import cooccurrence
from features.groups import DEFAULT_GROUPS
from features.live import REQUEST, LiveRequest, live_features
from features.table import FeatureConfig, build_features
from ponder.settings import Settings
from ponder.steps.codes import learn_codes
from ponder.steps.land import land_folder
from ponder.steps.rank import read_log, with_codes_of
from ponder.wiring.service import open_live_log, open_recall
from ponder.wiring.stores import open_index, open_lake, open_search
from tests.ponder.conftest import run_night

CONFIG = FeatureConfig(groups=(*DEFAULT_GROUPS, "codes"))
IDS = ["m1", "m2", "m3", "h1", "unknown"]


def rows(folder, name, *records):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))


@pytest.fixture(scope="module")
def settings(shop_home, tmp_path_factory):
    """The shop when m2 has another price and category, m3 is deleted, and bob liked all of them."""
    folder = tmp_path_factory.mktemp("later")
    settings = Settings(home=shutil.copytree(shop_home, tmp_path_factory.mktemp("log") / "home"))
    edited = {"item_id": "m2", "title": "a blue mug", "updated_at": "2026-03-02T10:00:00Z"}
    gone = {"item_id": "m3", "updated_at": "2026-03-02T11:00:00Z", "deleted": True}
    rows(folder, "items", edited | {"category": "mugs", "attributes": {"price": 7}}, gone)
    likes = [
        {"event_id": f"bob{n}", "user_id": "bob", "item_id": item_id, "action": "like"}
        | {"ts": f"2026-03-0{day}T12:00:00Z"}
        for n, (item_id, day) in enumerate([("m1", 1), ("m2", 1), ("m3", 1), ("m2", 3)])
    ]
    shown = {"event_id": "seen", "user_id": "eve", "item_id": "m2", "action": "impression"}
    rows(folder, "events", *likes, shown | {"request_id": "r", "ts": "2026-03-03T09:00:00Z"})
    run_night(settings, folder)
    learn_codes(settings, CodesConfig(num_levels=2, num_codes=2))
    return settings


def asked(version, user_id, item_ids, now, **more):
    return LiveRequest(version=version, user_id=user_id, item_ids=item_ids, now=now, **more)


def table(log, user_id, counts, centring, now):
    impressions = pl.DataFrame({"item_id": IDS}).select(
        "item_id", request_id=pl.lit(REQUEST), user_id=pl.lit(user_id), ts=pl.lit(now, TIME)
    )
    centred = CentredEmbeddings.of(log.vectors, centring)
    logged = log.events, log.items, log.vectors
    made = build_features(impressions, *logged, centred=centred, counts=counts, config=CONFIG)
    return made.frame.sort("item_id")


@pytest.mark.parametrize(
    ("opening", "is_refreshed"),
    [(open_search, True), (open_search, False), (open_index, True)],
    ids=["exact", "exact, from the lake", "milvus"],
)
def test_a_request_gets_the_features_of_the_whole_log(settings, opening, is_refreshed):
    whole = read_log(settings)
    counts = cooccurrence(whole.events)
    measured = CentredEmbeddings.measured(whole.vectors).centring
    # An index normalises what is normalised, which moves a cosine by some 1e-8: not onto an edge.
    edges = tuple(edge + 1e-4 for edge in measured.edges)
    codes_id = codes_in_use(open_lake(settings), measured.model_version)
    centring = replace(measured, edges=edges, codes_id=codes_id)
    whole = with_codes_of(settings, whole, centring)
    with opening(settings) as index:
        live = open_live_log(settings, open_recall(settings, index))
        assert not is_refreshed or (live.refresh() and not live.refresh())
        for user_id in ("ann", "bob", "nobody"):
            now = datetime.now(UTC) + timedelta(minutes=1)
            known = live.known(asked(measured.model_version, user_id, IDS, now, codes_id=codes_id))
            expected = table(whole, user_id, counts, centring, now)
            made = live_features(known, centring, config=CONFIG).frame
            assert_frame_equal(made, expected, abs_tol=1e-5)
            assert user_id == "nobody" or expected["code_prefix_max"].max() > 0
    price_of = dict(expected.select("item_id", "item_price").iter_rows())
    assert price_of == {"m1": 0.0, "m2": 7.0, "m3": 2.0, "h1": 3.0, "unknown": None}


def test_an_item_that_landed_since_is_known(settings, tmp_path):
    with open_search(settings) as index:
        live = open_live_log(settings, open_recall(settings, index))
        live.refresh()
        new = {"item_id": "n1", "title": "a cup", "updated_at": "2026-03-04T10:00:00Z"}
        rows(tmp_path, "items", new | {"attributes": {"price": 5}})
        land_folder(settings, tmp_path)
        version = index.live_version()
        for _ in range(2):  # before the next refresh, and after it
            now = datetime.now(UTC)
            items = live.known(asked(version, "ann", ["n1", "m1"], now)).items
            price_of = dict(items.select("item_id", "price").iter_rows())
            assert (price_of["m1"], price_of["n1"]) == (0.0, 5.0)
            live._rests_until = 0.0
            live.refresh()
