"""Tests for items with clips and further images, from a record to the lake."""

import json
import os
import signal
import struct
from types import SimpleNamespace

import polars as pl
import pytest

from catalog.clips.limits import ClipLimits
from catalog.decoding.decoder import GuardedDecoder
from catalog.images.fetcher import ImageFetcher
from catalog.images.image import ImageConfig, data_uri
from catalog.ingest.batch import Batch
from catalog.ingest.landing import land, land_items
from catalog.ingest.message_parsing import parse_item_messages
from catalog.ingest.rows import hash_media
from catalog.ingest.source import open_source
from catalog.ingest.writer import write_media
from catalog.lake.tables import DEAD_LETTERS, ITEMS, MEDIA
from catalog.records import RawRecord
from tests.clips import bar_clip, sound_only

COLUMNS = ["image_uri", "image_hash", "gallery_uris", "gallery_hashes", "video_uri", "video_hash"]


@pytest.fixture(scope="module")
def clip():
    return bar_clip(num_frames=6)


def record(number, **fields):
    value = {"item_id": f"i{number}", "updated_at": "2026-01-01T00:00:00Z", **fields}
    return RawRecord("items", 0, number, json.dumps(value).encode())


def landed(lake, *records, base_dir=None, **limits):
    config = ImageConfig(clips=ClipLimits(**limits))
    with ImageFetcher(config, base_dir=base_dir) as images:
        return land_items(records, lake, images=images)


def reasons(lake):
    rows = lake.read(DEAD_LETTERS).sort("offset")
    assert set(rows["stage"]) <= {"media"}
    return rows["reason"].to_list()


def test_a_clip_and_further_images_land_once_by_their_content(lake, tmp_path, image, clip):
    other = image + b"\0"  # another file of the same pixels
    for name, data in (("a.png", image), ("b.png", other), ("v.mp4", clip)):
        (tmp_path / name).write_bytes(data)
    inline = {"image_uris": [data_uri(other), data_uri(image)], "video_uri": data_uri(clip)}
    landed(
        lake,
        record(0, image_uri="a.png", image_uris=["b.png"], video_uri="v.mp4"),
        record(1, **inline),
        record(2, video_uri="v.mp4"),
        base_dir=tmp_path,
    )
    one, two, film = map(hash_media, (image, other, clip))
    rows = lake.read(ITEMS).sort("item_id")
    assert rows.select(COLUMNS).rows() == [
        ("a.png", one, '["b.png"]', [two], "v.mp4", film),
        (f"media:{two}", two, f'["media:{one}"]', [one], f"media:{film}", film),
        (None, None, None, None, "v.mp4", film),
    ]
    assert sorted(lake.read(MEDIA)["hash"]) == sorted([one, two, film])
    assert rows["content_hash"].n_unique() == 3


def test_a_clip_of_parquet_lands_from_its_column(lake, tmp_path, image, clip):
    frame = pl.DataFrame(
        {"item_id": ["a"], "title": ["kite"], "updated_at": ["2026-01-01T00:00:00Z"]}
    )
    frame = frame.with_columns(
        pl.Series("video", [clip]), pl.Series("images", [[image, image + b"\0"]])
    )
    frame.write_parquet(tmp_path / "items.parquet")
    land(open_source(tmp_path), lake)
    [row] = lake.read(ITEMS).rows(named=True)
    assert row["video_hash"] == hash_media(clip)
    assert [row["image_hash"], *row["gallery_hashes"]] == list(
        map(hash_media, (image, image + b"\0"))
    )


def test_bad_clips_are_dead_letters_with_their_reasons_and_stop_nothing(lake, tmp_path, clip):
    sixteen_k = bytearray(bar_clip("gif", num_frames=2))
    sixteen_k[6:10] = struct.pack("<HH", 16_384, 16_384)
    bad = {
        "cut off": (clip[: len(clip) * 9 // 10], "a clip must be whole, got one that is cut off"),
        "sound": (sound_only(), "a clip must have a video stream, got none"),
        "16k": (bytes(sixteen_k), "a frame may have at most 9000000 pixels, got 16384 x 16384"),
        "long": (bar_clip(num_frames=31, fps=1), "a clip may last at most 30 s, got 31.0"),
        "playlist": (b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n", "must be an MP4, WebM or GIF"),
        "image": (b"\x89PNG\r\n\x1a\n", "a clip must be an MP4, WebM or GIF"),
        "large": (clip + bytes(60_000), "a clip may have at most 60000 bytes"),
    }
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    records = [record(n, video_uri=name) for n, name in enumerate(bad)]
    report = landed(
        lake,
        *records,
        record(98, title="good", video_uri=data_uri(clip)),
        record(99, video_uri="../v.mp4"),
        base_dir=tmp_path,
        max_bytes=60_000,
        max_duration_s=30,
    )
    assert lake.read(ITEMS)["item_id"].to_list() == ["i98"]
    assert report.dead_letters == len(bad) + 1
    for told, (_, expected) in zip(reasons(lake), bad.values(), strict=False):
        assert expected in told
    assert "video_uri must stay inside the data folder" in reasons(lake)[-1]


def test_a_broken_one_of_several_images_is_named_by_its_field(lake, image):
    landed(lake, record(0, image_uris=[data_uri(image), data_uri(b"none"), "gone.png"]))
    [reason] = reasons(lake)
    assert "must be a whole PNG" in reason
    landed(lake, record(1, image_uris=[data_uri(image), "gone.png"]))
    assert "image_uris is a path but this source has no data folder" in reasons(lake)[-1]


def test_a_clip_is_fetched_with_its_own_limit_of_bytes(lake, clip, image):
    asked = []

    def fetch(uri):
        asked.append(uri)
        return clip if uri.endswith("mp4") else image

    uri = "http://shop.example/v.mp4"
    records = [
        record(0, video_uri=uri, image_uris=["http://shop.example/a.png"]),
        record(1, video_uri=uri),
    ]
    with ImageFetcher(fetchers={"http": fetch}) as images:
        land_items(records, lake, images=images)
    assert lake.read(ITEMS)["video_hash"].to_list() == [hash_media(clip)] * 2
    assert sorted(asked) == ["http://shop.example/a.png", uri]


def test_an_address_that_is_no_image_is_tried_as_a_clip_by_its_field_alone(lake, image):
    landed(lake, record(0, video_uri=data_uri(image)))
    assert "a clip must be an MP4, WebM or GIF" in reasons(lake)[0]


def test_another_clip_is_another_content_and_a_moved_one_is_not(lake, tmp_path, clip):
    for name, data in (("a.mp4", clip), ("b.mp4", clip), ("c.mp4", bar_clip(num_frames=7))):
        (tmp_path / name).write_bytes(data)
    hashes = []
    for number, name in enumerate(("a.mp4", "b.mp4", "c.mp4")):
        updated = f"2026-01-0{number + 1}T00:00:00Z"
        landed(lake, record(0, video_uri=name, updated_at=updated), base_dir=tmp_path)
        [row] = lake.read(ITEMS).rows(named=True)
        assert row["video_uri"] == name
        hashes.append(row["content_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_message_with_a_clip_waits_for_it_and_may_name_no_file(lake, clip):
    records = [
        record(0, video_uri=data_uri(clip)),
        record(1, image_uris=["/etc/passwd"]),
        record(2, video_uri="/etc/passwd"),
    ]
    batch = Batch()
    messages = [
        SimpleNamespace(topic="items", partition=0, offset=n, key=b"", value=r.value, timestamp=0)
        for n, r in enumerate(records)
    ]
    parse_item_messages(messages, batch, decoder=None)
    assert batch.items().is_empty()
    with ImageFetcher() as images:
        write_media(batch, lake, images)
    assert batch.items()["video_hash"].to_list() == [hash_media(clip)]
    assert batch.media()["bytes"].to_list() == [clip]
    assert [reason.partition(" is a path")[0] for reason in batch.dead_letters()["reason"]] == [
        "image_uri",
        "video_uri",
    ]


def test_a_hostile_clip_delays_no_other_item_by_more_than_its_deadline(lake, clip):
    """Its decoder is stopped; the clips after it have theirs."""
    decoder = GuardedDecoder(max_processes=2)
    decoder.frames(clip)
    os.kill(decoder._idle[0].popen.pid, signal.SIGSTOP)
    config = ImageConfig(clips=ClipLimits(decoding_s=0.5))
    records = [record(n, video_uri=data_uri(clip + bytes(n))) for n in range(4)]
    with ImageFetcher(config, guarded_decoder=decoder) as images:
        land_items(records, lake, images=images)
    assert len(lake.read(ITEMS)) == 3
    assert ["within 0.5 s" in reason for reason in reasons(lake)] == [True]
