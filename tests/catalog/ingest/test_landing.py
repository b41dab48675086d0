"""Tests for catalog/ingest/landing.py: from records to tables, twice, with bad ones between."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.images.addresses import parse_networks
from catalog.images.image import ImageConfig, data_uri
from catalog.ingest.landing import land, land_events, land_items
from catalog.ingest.rows import hash_media
from catalog.ingest.source import open_source
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS, MEDIA
from catalog.lake.upsert import UpsertCounts
from catalog.records import RawRecord

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)
T1 = "2026-01-01T00:00:00Z"
MOVIELENS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "movielens_posters"


def raw(offset, value, **fields):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return RawRecord(topic="items", partition=0, offset=offset, value=body, **fields)


def item(item_id, **fields):
    return {"item_id": item_id, "updated_at": T1} | fields


def event(event_id, **fields):
    return {
        "event_id": event_id,
        "user_id": "u",
        "item_id": "a",
        "action": "click",
        "ts": T1,
    } | fields


def film(offset, item_id, title, **fields):
    """A record of a snapshot: a row with a constant time, keyed by the item's id."""
    value = {"item_id": item_id, "updated_at": NOW, "title": title} | fields
    key = item_id.encode()
    return RawRecord(topic="films", partition=0, offset=offset, value=value, key=key)


def write_lines(file, *lines):
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def folder(tmp_path, image):
    data = tmp_path / "data"
    data.mkdir()
    (data / "red.png").write_bytes(image)
    write_lines(
        data / "items.jsonl",
        item("a", title="A", image_uri="red.png"),
        item("b", image_uri="http://127.0.0.1/b.png"),
        {"item_id": "c"},
        item("d", image_uri=data_uri(image)),
    )
    write_lines(data / "events.jsonl", event("e1"), event("e1"), event("e2", action="fly"))
    return data


def test_a_folder_lands_with_its_images_and_nothing_is_lost(lake, folder, image):
    report = land(open_source(folder), lake, now=NOW)
    assert (report.consumed, report.items) == (7, UpsertCounts(inserted=2))
    assert (report.events, report.known_events) == (1, 1)
    assert (report.images, report.dead_letters) == (1, 3)
    digest = hash_media(image)
    with_image = lake.read(ITEMS, ["item_id", "image_uri", "image_hash"]).sort("item_id")
    assert with_image.rows() == [("a", "red.png", digest), ("d", f"media:{digest}", digest)]
    assert lake.read(MEDIA).rows() == [(digest, image)]
    assert lake.read(EVENTS)["event_id"].to_list() == ["e1"]


def test_a_record_that_cannot_land_is_kept_with_its_reason(lake, folder):
    report = land(open_source(folder), lake, now=NOW)
    letters = lake.read(DEAD_LETTERS).sort("topic", "offset")
    assert letters.select("topic", "offset", "stage").rows() == [
        ("events.jsonl", 2, "validate"),
        ("items.jsonl", 1, "media"),
        ("items.jsonl", 2, "validate"),
    ]
    assert json.loads(letters["value"][2]) == {"item_id": "c"}
    assert "must lead to a public address" in letters["reason"][1]
    assert letters["failed_at"].to_list() == [NOW] * 3
    assert report.rejected["validate: Object missing required field `updated_at`"] == 1
    assert report.rejected.total() == 3


def test_landing_a_folder_twice_changes_no_table(lake, folder):
    land(open_source(folder), lake, now=NOW)
    before = lake.versions()
    again = land(open_source(folder), lake, now=LATER)
    assert lake.versions() == before
    assert again.items == UpsertCounts(unchanged=2)
    assert (again.events, again.known_events, again.images, again.dead_letters) == (0, 2, 0, 0)


def test_images_are_fetched_and_those_that_cannot_be_had_wait_as_dead_letters(
    lake, tmp_path, web, answer, image
):
    web.routes["/a.png"] = answer(image)
    web.routes["/b.png"] = answer(b"", status=503)
    web.routes["/c.png"] = answer(image[:50])
    items = [item(name, image_uri=web.url(f"/{name}.png")) for name in "abcd"]
    write_lines(tmp_path / "items.jsonl", *items)
    config = ImageConfig(allow=parse_networks("127.0.0.0/8"), retry_wait_s=0)

    report = land(open_source(tmp_path), lake, image_config=config, now=NOW)
    stored = lake.read(ITEMS, ["item_id", "image_uri", "image_hash"])
    assert stored.rows() == [("a", web.url("/a.png"), hash_media(image))]
    assert lake.read(MEDIA).rows() == [(hash_media(image), image)]
    assert report.rejected == {
        "media: the server must answer with status 200": 2,
        "media: an image must be a whole PNG, JPEG, WEBP, GIF, BMP": 1,
    }
    assert sorted(web.paths()) == ["/a.png", "/b.png", "/b.png", "/c.png", "/d.png"]
    before = lake.versions()
    land(open_source(tmp_path), lake, image_config=config, now=LATER)
    assert lake.versions() == before  # the same reasons, so not even new letters

    web.routes["/b.png"] = answer(image)
    assert land(open_source(tmp_path), lake, image_config=config, now=LATER).items.inserted == 1


def test_a_crash_between_two_writes_leaves_no_dangling_image_and_heals(lake, folder, image):
    class CrashingLake(Lake):
        def upsert_items(self, rows, **kwargs):
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        land(open_source(folder), CrashingLake(lake.uri), now=NOW)
    assert lake.read(MEDIA).rows() == [(hash_media(image), image)]
    assert lake.version(ITEMS) is None
    assert land(open_source(folder), lake, now=NOW).items == UpsertCounts(inserted=2)


def test_only_the_edited_line_changes(lake, folder):
    land(open_source(folder), lake, now=NOW)
    lines = (folder / "items.jsonl").read_text().splitlines()
    lines[0] = json.dumps(item("a", title="A2", updated_at="2026-01-01T01:00:00Z"))
    (folder / "items.jsonl").write_text("\n".join(lines))
    report = land(open_source(folder), lake, now=LATER)
    assert report.items == UpsertCounts(updated=1, unchanged=1)
    assert report.dead_letters == 0


@pytest.mark.parametrize("batch_rows", [1, 2, 10])
def test_the_number_of_batches_does_not_change_the_outcome(lake, batch_rows):
    records = [raw(n, item(f"i{n % 3}", title=f"t{n}")) for n in range(7)]
    told = []
    report = land_items(records, lake, batch_rows=batch_rows, progress=told.append)
    assert sum(told) == report.consumed == 7
    assert max(told) == min(batch_rows, 7)
    assert lake.read(ITEMS)["item_id"].sort().to_list() == ["i0", "i1", "i2"]
    events = [raw(n, event(f"e{n % 3}")) for n in range(7)]
    landed = land_events(events, lake, batch_rows=batch_rows)
    assert (landed.events, landed.known_events) == (3, 4)


def test_reasons_are_counted_without_the_offending_values(lake):
    records = [raw(n, item("x" * (300 + n))) for n in range(3)]
    report = land_items(records, lake, now=NOW)
    assert report.rejected == {"validate: item_id must have 1 to 256 characters": 3}


def test_an_edit_in_a_snapshot_lands_although_no_time_moved(lake):
    land_items([film(0, "a", "old"), film(1, "b", "b")], lake, snapshot=True, now=NOW)
    edited = [film(0, "a", "new"), film(1, "b", "b")]
    assert land_items(edited, lake, snapshot=True, now=LATER).items == UpsertCounts(
        updated=1, unchanged=1
    )
    stored = lake.read(ITEMS, ["title", "updated_at"]).sort("title")
    assert stored.rows() == [("b", NOW), ("new", LATER)]
    before = lake.versions()
    land_items(edited, lake, snapshot=True)
    assert lake.versions() == before


def test_an_edit_that_no_embedder_sees_lands_too(lake):
    land_items([film(0, "a", "a", attributes={"year": 1})], lake, snapshot=True)
    edited = [film(0, "a", "a", attributes={"year": 2})]
    assert land_items(edited, lake, snapshot=True).items == UpsertCounts(updated=1)
    assert lake.read(ITEMS)["attributes"].to_list() == ['{"year":2}']


def test_an_item_absent_from_a_snapshot_is_deleted_and_may_come_back(lake):
    both = [film(0, "a", "a"), film(1, "b", "b")]
    land_items(both, lake, snapshot=True, now=NOW)
    gone = land_items(both[:1], lake, snapshot=True, max_delete_share=0.5, now=LATER)
    assert gone.items == UpsertCounts(deleted=1, unchanged=1)
    assert land_items(both, lake, snapshot=True).items == UpsertCounts(updated=1, unchanged=1)


def test_a_snapshot_cut_off_deletes_nothing_but_lands_what_it_has(lake):
    land_items([film(n, f"i{n}", "old") for n in range(4)], lake, snapshot=True, now=NOW)
    with pytest.raises(ValueError, match=r"lacks 3 of the lake's 4 items.*max_delete_share"):
        land_items([film(0, "i0", "new")], lake, snapshot=True, now=LATER)
    assert not lake.read(ITEMS)["deleted"].any()
    assert "new" in lake.read(ITEMS)["title"].to_list()


def test_an_item_that_a_snapshot_holds_but_cannot_land_is_not_deleted(lake):
    land_items([film(0, "a", "a"), film(1, "b", "b")], lake, snapshot=True, now=NOW)
    broken = [film(0, "a", 7), film(1, "b", "b", image_uri="http://127.0.0.1/b.png")]
    report = land_items(broken, lake, snapshot=True, max_delete_share=1.0, now=LATER)
    assert report.items == UpsertCounts()
    assert report.dead_letters == 2


def test_an_item_listed_twice_in_a_snapshot_does_not_flap(lake):
    twice = [film(0, "a", "one"), film(1, "a", "two")]
    land_items(twice, lake, snapshot=True, now=NOW)
    before = lake.versions()
    report = land_items(twice, lake, snapshot=True, now=LATER)
    assert lake.versions() == before
    assert report.rejected == {"validate: a snapshot must hold an item once": 1}


def test_reasons_that_differ_in_a_place_or_a_value_add_up(lake):
    values = [b"{]", b'{"a": 1, ]', b"\xff", b"a\xfe", item("a" * 257), item("b" * 300)]
    rejected = land_items([raw(n, value) for n, value in enumerate(values)], lake).rejected
    assert sorted(rejected.values()) == [2, 2, 2]


def test_a_batch_is_written_early_when_its_images_are_large(lake, image, monkeypatch):
    monkeypatch.setattr("catalog.ingest.landing.MAX_HELD_BYTES", 1)
    told = []
    records = [raw(n, item(f"i{n}", image_uri=data_uri(image))) for n in range(3)]
    land_items(records, lake, progress=told.append)
    assert told == [1, 1, 1]


@pytest.mark.skipif(not MOVIELENS.is_dir(), reason="needs ../shared/data/movielens_posters")
def test_movielens_lands_whole_and_a_second_time_changes_nothing(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    source = open_source(MOVIELENS)
    first = land(source, lake)
    # The counts of its README: 9,742 films, 100,836 ratings, 6,304 posters.
    assert first.items == UpsertCounts(inserted=9_742)
    assert (first.events, first.dead_letters) == (100_836, 0)
    assert lake.read(ITEMS, ["image_hash"])["image_hash"].count() == 6_304
    before = lake.versions()
    assert land(source, lake).items == UpsertCounts(unchanged=9_742)
    assert lake.versions() == before


def living(lake):
    items = lake.read(ITEMS)
    return sorted(items.filter(~items["deleted"])["item_id"])


def test_a_snapshot_folder_deletes_what_it_lacks_but_not_what_it_holds_broken(lake, tmp_path):
    file = tmp_path / "items.jsonl"
    write_lines(file, item("a"), item("b"), item("c"))
    land(open_source(tmp_path), lake)
    write_lines(file, item("a"), item("b", title=7))
    land(open_source(tmp_path, snapshot=True), lake, max_delete_share=0.5)
    assert living(lake) == ["a", "b"]


def test_a_snapshot_with_a_record_that_names_no_item_deletes_nothing(lake, tmp_path):
    file = tmp_path / "items.jsonl"
    write_lines(file, item("a"), item("b"))
    land(open_source(tmp_path), lake)
    file.write_text(json.dumps(item("a", title="new")) + "\n{broken\n")
    write_lines(tmp_path / "events.jsonl", event("e"))
    with pytest.raises(ValueError, match="nothing was deleted"):
        land(open_source(tmp_path, snapshot=True), lake, max_delete_share=1)
    assert living(lake) == ["a", "b"]
    assert lake.read(EVENTS)["event_id"].to_list() == ["e"]


def test_a_snapshot_that_lacks_nothing_lands_beside_a_record_that_names_no_item(lake, tmp_path):
    (tmp_path / "items.jsonl").write_text(json.dumps(item("a")) + "\n{broken\n")
    report = land(open_source(tmp_path, snapshot=True), lake)
    assert (report.items, report.rejected.total()) == (UpsertCounts(inserted=1), 1)
