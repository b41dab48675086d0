"""Tests for the steps of a night: nights in a row on a small bazaar, with everything embedded."""

import json
import shutil
import socket
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from catalog.images.addresses import parse_networks
from catalog.images.image import ImageConfig
from catalog.ingest.rows import hash_media, item_frame
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, EVENTS, ITEMS, MEDIA, TIME
from catalog.records import Item
from features.centred_embeddings import CentredEmbeddings
from features.export import read_export
from features.table import build_features
from ponder.reports.run.page import write_html
from ponder.settings import Settings
from ponder.steps.embed import embed, plan
from ponder.steps.evaluate import evaluate
from ponder.steps.features import export_features
from ponder.steps.index import index
from ponder.steps.land import land_folder, land_kafka
from ponder.steps.rank import promote_ranker, registered_rankers, train_ranker
from ponder.steps.recall import recall
from ponder.steps.recommend import recommend
from ponder.steps.status import status
from ponder.steps.validation import ValidationFailed, validate
from ponder.steps.versions import drop
from ponder.wiring.feature_log import read_log
from ponder.wiring.stores import image_config, open_index, open_lake
from ponder.wiring.vectors import known_vectors, living_vectors
from ranker.config import RankerConfig
from ranker.saved import load_ranker

FEW_TREES = RankerConfig(num_rounds=2, num_members=1)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def append(path, *records):
    with path.open("a") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")


def indexed(settings):
    with open_index(settings) as index:
        return set(index.keys(index.live_version())["item_id"])


def half_an_image(folder):
    """The first half of an image's bytes."""
    Image.effect_noise((96, 96), 80).save(folder / "images" / "whole.jpg")
    whole = (folder / "images" / "whole.jpg").read_bytes()
    return whole[: len(whole) // 2]


def land_unreadable(settings, folder, item_id):
    """An item that cannot be embedded; past landing, which lets no such image through."""
    lake, half = open_lake(settings), half_an_image(folder)
    item = Item(item_id=item_id, updated_at=datetime.now(UTC))
    lake.insert_new(MEDIA, pl.DataFrame({"hash": [hash_media(half)], "bytes": [half]}))
    lake.upsert_items(item_frame([item], [hash_media(half)]))


def commits(settings):
    """Commits of each table; each night's validation is kept, whatever it finds."""
    commits = open_lake(settings).versions()
    return {name: number for name, number in commits.items() if name != "index_versions"}


@pytest.fixture
def folder(bazaar, tmp_path):
    return shutil.copytree(bazaar, tmp_path / "data")


@pytest.fixture
def ran(settings, night_home):
    """The deployment after a night."""
    shutil.copytree(night_home, settings.home)
    return settings


def test_nights_in_a_row_do_only_what_is_new(settings, folder, night):
    _, embedded, synced = night(settings, folder)
    gone = {row["item_id"] for row in rows(folder / "items.jsonl") if row.get("deleted")}
    living = {row["item_id"] for row in rows(folder / "truth.jsonl")} - gone
    assert embedded == synced.upserted == len(living)
    assert indexed(settings) == living
    first = commits(settings)

    _, embedded, synced = night(settings, folder)
    assert embedded == 0
    assert (synced.upserted, synced.deleted) == (0, 0)
    assert commits(settings) == first

    edited, removed = sorted(living)[:2]
    append(
        folder / "items.jsonl",
        {"item_id": edited, "title": "a new title", "updated_at": "2030-01-01T00:00:00Z"},
        {"item_id": removed, "deleted": True, "updated_at": "2030-01-01T00:00:00Z"},
    )
    _, embedded, synced = night(settings, folder)
    assert embedded == 1
    assert (synced.upserted, synced.deleted) == (1, 1)
    assert indexed(settings) == living - {removed}


def test_settings_say_where_images_may_be_fetched_from(tmp_path):
    settings = Settings(
        home=tmp_path / "home",
        media_allow=parse_networks("127.0.0.1/32"),
        lake_options={"AWS_REGION": "eu-west-1"},
        media_buckets=("images",),
    )
    assert image_config(settings) == ImageConfig(
        allow=settings.media_allow,
        buckets=("images",),
        store_options={"AWS_REGION": "eu-west-1"},
    )
    (tmp_path / "data").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]  # closed before the landing: allowed, but nobody there
    uris = {"refused": "http://127.0.0.2/", "allowed": f"http://127.0.0.1:{port}/"}
    append(
        tmp_path / "data" / "items.jsonl",
        *(
            {"item_id": name, "image_uri": uri, "updated_at": "2026-01-01T00:00:00Z"}
            for name, uri in uris.items()
        ),
    )
    rejected = land_folder(settings, tmp_path / "data").rejected
    assert rejected == {
        "media: image_uri must lead to a public address or into an allowed network": 1,
        "media: the server of image_uri must be reached": 1,
    }


def test_a_change_that_no_embedder_sees_costs_no_embedding(ran, folder, night):
    gone = {row["item_id"] for row in rows(folder / "items.jsonl") if row.get("deleted")}
    record = next(r for r in rows(folder / "items.jsonl") if r["item_id"] not in gone)
    record["attributes"] = {"price": 1.0}
    record["updated_at"] = "2030-01-01T00:00:00Z"
    append(folder / "items.jsonl", record)
    _, embedded, synced = night(ran, folder)
    assert embedded == 0
    assert synced.upserted == 1  # filters must see the new price


def test_what_cannot_be_landed_or_embedded_is_kept_and_stops_nothing(ran, folder, night):
    half = half_an_image(folder)
    (folder / "images" / "cut.jpg").write_bytes(half)
    when = "2026-03-05T00:00:00Z"
    append(
        folder / "items.jsonl",
        {"item_id": "untitled", "title": 7, "updated_at": when},
        {"item_id": "faraway", "image_uri": "../../etc/passwd", "updated_at": when},
        {"item_id": "cut", "image_uri": "images/cut.jpg", "updated_at": when},
    )
    land_unreadable(ran, folder, "spoilt")
    lake = open_lake(ran)
    night(ran, folder)
    letters = lake.read(DEAD_LETTERS)
    assert sorted(letters["stage"]) == ["embed", "media", "media", "validate"]
    assert letters.filter(stage="embed")["key"].to_list() == [b"spoilt"]
    assert not {"untitled", "faraway", "cut", "spoilt"} & indexed(ran)


def test_what_failed_to_embed_is_not_tried_again_until_its_content_changes(ran, folder, night):
    land_unreadable(ran, folder, "cut")
    night(ran, folder)
    planned = plan(ran)
    assert (planned.num_items, planned.num_failed) == (0, 1)
    assert embed(ran, ("cut", "cut")).failed == 0

    Image.effect_noise((96, 96), 80).save(folder / "images" / "whole.jpg")
    mended = {"item_id": "cut", "image_uri": "images/whole.jpg"}
    append(folder / "items.jsonl", mended | {"updated_at": "2030-01-01T00:00:00Z"})
    _, embedded, _ = night(ran, folder)
    assert embedded == 1
    assert "cut" in indexed(ran)
    assert open_lake(ran).read(DEAD_LETTERS).is_empty()


def test_a_shard_that_was_embedded_already_embeds_nothing(settings, bazaar):
    land_folder(settings, bazaar)
    first, *_ = plan(settings).shards
    assert embed(settings, first).embedded == 25
    assert embed(settings, first).embedded == 0
    left = plan(settings)
    assert first not in left.shards
    living = open_lake(settings).read(ITEMS).filter(deleted=False)
    assert left.num_items == len(living) - 25


def test_an_index_that_lags_behind_the_lake_does_not_go_live(ran, folder):
    append(
        folder / "items.jsonl",
        {"item_id": "late", "title": "3 red mugs", "updated_at": "2030-01-01T00:00:00Z"},
    )
    land_folder(ran, folder)
    for shard in plan(ran).shards:
        embed(ran, shard)
    with pytest.raises(ValidationFailed, match=r"1 of .* items are missing"):
        validate(ran)


def test_indexing_before_embedding_says_what_to_do(settings, bazaar):
    land_folder(settings, bazaar)
    with pytest.raises(ValueError, match="land and embed first"):
        index(settings)


def test_landing_from_kafka_without_brokers_says_which_setting_is_missing(settings):
    with pytest.raises(ValueError, match="set PONDER_KAFKA"):
        land_kafka(settings)


def test_an_old_vector_stands_in_for_an_item_that_is_gone(ran, folder):
    lake = open_lake(ran)
    version = lake.read(EMBEDDINGS, ["model_version"])["model_version"][0]
    removed = living_vectors(lake, version)["item_id"][0]
    vector = known_vectors(lake, version).filter(item_id=removed)["vector"][0].to_list()
    append(
        folder / "items.jsonl",
        {"item_id": removed, "deleted": True, "updated_at": "2030-01-01T00:00:00Z"},
    )
    land_folder(ran, folder)
    assert removed not in living_vectors(lake, version)["item_id"]
    known = known_vectors(lake, version)
    assert known["item_id"].is_unique().all()
    np.testing.assert_array_equal(known.filter(item_id=removed)["vector"][0].to_list(), vector)


def test_features_ranker_evaluation_and_recall_follow_a_night(ran, folder):
    exported = export_features(ran)
    shown = [row for row in rows(folder / "events.jsonl") if row["action"] == "impression"]
    assert exported.num_rows == len(shown)
    ranked = train_ranker(ran, config=RankerConfig(num_rounds=20, num_members=2))
    assert ranked.promoted, ranked.checks
    _is_kept_when_another_learns_nothing_new(ran, ranked)
    assert set(ranked.report.overall.metrics) == {"without match", "with match"}
    evaluated = evaluate(ran, folder / "queries.jsonl")
    assert set(evaluated.queries.policies) == {"never", "auto", "always"}
    assert evaluated.queries.policies["never"].reason_rate == 0
    assert evaluated.queries.policies["always"].reason_rate == 1
    for name in ("ranking", "recall"):
        assert json.loads((ran.reports_folder / f"{name}.json").read_text())
    reply = recall(ran, {"text": "3 red mugs", "top_k": 5})
    assert [found.rank for found in reply.candidates] == [1, 2, 3, 4, 5]
    assert write_html(ran).name == "report.html"
    events = open_lake(ran).read(EVENTS)
    user = events.filter(action="click")["user_id"].sort()[0]
    asked_at = datetime.now(UTC)
    for_user = recommend(ran, user, top_k=60)
    assert [found.rank for found in for_user.candidates] == list(
        range(1, len(for_user.candidates) + 1)
    )
    as_recommended = {"interests": 3, "exclude_seen": "liked"}
    by_recall = recall(ran, {"user_id": user, "top_k": 60} | as_recommended).candidates
    recommended = {found.item_id: found.recall_score for found in for_user.candidates}
    expected = {found.item_id: found.score for found in by_recall}
    assert recommended == pytest.approx(expected, abs=1e-6)  # float32
    _is_ordered_by_the_whole_log(ran, user, for_user, asked_at)


def _is_kept_when_another_learns_nothing_new(settings, ranked):
    other = train_ranker(settings, config=FEW_TREES)
    assert (other.before, other.promoted) == (ranked.name, False)
    assert [check.rule for check in other.checks if not check.passed] == ["evidence"]
    rankers = {row.name: row for row in registered_rankers(settings)}
    assert rankers.keys() == {ranked.name, other.name}
    assert rankers[ranked.name].is_champion
    with pytest.raises(ValueError, match=r"was refused: 0 requests that .* has not learnt from"):
        promote_ranker(settings, other.name)
    assert promote_ranker(settings, other.name, force=True).before == ranked.name
    assert promote_ranker(settings, ranked.name).champion == ranked.name


def test_one_odd_event_changes_no_other_page_and_is_counted(ran, folder, night, caplog):
    before = export_features(ran)
    exported = read_export(ran.features_folder).frame
    shown = next(row for row in rows(folder / "events.jsonl") if row["action"] == "impression")
    odd = [
        shown | {"event_id": "odd1", "user_id": "another"},
        shown | {"event_id": "odd2", "request_id": ""},
        shown | {"event_id": "odd3", "action": "click", "ts": "2020-01-01T00:00:00Z"},
    ]
    append(folder / "events.jsonl", *odd)
    night(ran, folder)
    after = export_features(ran)
    assert (before.protocol, after.protocol) == ("impressions", "impressions")
    assert after.num_rows == before.num_rows + 1
    assert after.pages.oddities() == before.pages.oddities() | {
        "shared_requests": 1,
        "impressions_without_request": 1,
        "events_before_page": 1,
        "late_events": 3,  # they landed after the whole log
    }
    assert "shared_requests=1" in " ".join(caplog.text.split())
    keys = ["request_id", "user_id", "item_id", "ts"]
    kept = read_export(ran.features_folder).frame.join(exported, on=keys, how="semi")
    others = pl.col("request_id") != shown["request_id"]
    assert_frame_equal(
        kept.filter(others).select(*keys, "relevance").sort(keys),
        exported.filter(others).select(*keys, "relevance").sort(keys),
    )
    train_ranker(ran, config=FEW_TREES)


def _is_ordered_by_the_whole_log(settings, user, answer, asked_at):
    """Compares with features of the whole lake at once, of before the question and of now.

    Ages grow meanwhile: one that passes a threshold of a tree in between has either score. And a
    cosine on the edge of a tier counts on either side of it, which few candidates' scores show.
    """
    log, rankers = read_log(settings), settings.rankers(answer.version)
    ranker = load_ranker(rankers.path("champion"))
    centred = CentredEmbeddings.of(log.vectors, ranker.centring)

    def scores(moment):
        asked = pl.DataFrame({"item_id": [found.item_id for found in answer.candidates]})
        asked = asked.with_columns(
            request_id=pl.lit("r"), user_id=pl.lit(user), ts=pl.lit(moment).cast(TIME)
        )
        table = build_features(asked, log.events, log.items, log.vectors, centred=centred)
        return ranker.predict(table)

    told = np.array([found.score for found in answer.candidates])
    is_one = [np.isclose(told, scores(moment)) for moment in (asked_at, datetime.now(UTC))]
    assert np.logical_or(*is_one).mean() > 0.95


def test_without_a_ranker_recommending_says_what_to_run(ran):
    user = open_lake(ran).read(EVENTS).filter(action="click")["user_id"].sort()[0]
    with pytest.raises(
        RuntimeError, match=r"no ranker of version .* is in use; run ponder features and"
    ):
        recommend(ran, user)


def test_a_version_that_is_not_live_can_be_dropped(ran):
    live = status(ran).live
    rows = living_vectors(open_lake(ran), live).with_columns(codes=pl.lit(""))
    with open_index(ran) as milvus:
        milvus.sync("old", rows, dim=len(rows["vector"][0]))
    dropped = drop(ran, "old")
    assert (dropped.dropped, dropped.left) == ("old", (live,))
    with pytest.raises(ValueError, match="is live"):
        drop(ran, live)


def test_status_counts_what_is_there(ran, folder):
    held = status(ran)
    items = rows(folder / "items.jsonl")
    gone = {row["item_id"] for row in items if row.get("deleted")}
    assert held.deleted_items == len(gone)
    assert held.items == len({row["item_id"] for row in items} - gone)
    assert held.events == len(rows(folder / "events.jsonl"))
    assert held.left_to_embed == 0
    assert held.indexed == {held.live: held.items}
