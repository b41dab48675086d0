"""Tests for items with sounds, from a record to the lake."""

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from catalog.audio.limits import AudioLimits
from catalog.images.fetcher import ImageFetcher
from catalog.images.image import ImageConfig, data_uri
from catalog.ingest.batch import Batch
from catalog.ingest.landing import land, land_items
from catalog.ingest.message_parsing import parse_item_messages
from catalog.ingest.rows import hash_media
from catalog.ingest.source import open_source
from catalog.ingest.writer import write_media
from catalog.lake.lake import Lake
from catalog.lake.shown_media import read_media
from catalog.lake.tables import DEAD_LETTERS, ITEMS, MEDIA
from catalog.records import RawRecord
from tests.clips import bar_clip
from tests.sounds import encoded, tone, tone_file


@pytest.fixture(scope="module")
def sound():
    return tone_file("ogg", seconds=0.2)


def record(number, **fields):
    value = {"item_id": f"i{number}", "updated_at": "2026-01-01T00:00:00Z", **fields}
    return RawRecord("items", 0, number, json.dumps(value).encode())


def landed(lake, *records, base_dir=None, **limits):
    config = ImageConfig(audio=AudioLimits(**limits))
    with ImageFetcher(config, base_dir=base_dir) as images:
        return land_items(records, lake, images=images)


def test_a_sound_lands_once_by_its_content_beside_a_clip(lake, tmp_path, sound):
    clip = bar_clip(num_frames=4)
    (tmp_path / "a.ogg").write_bytes(sound)
    landed(
        lake,
        record(0, audio_uri="a.ogg", video_uri=data_uri(clip)),
        record(1, audio_uri=data_uri(sound)),
        record(2, title="mute"),
        base_dir=tmp_path,
    )
    heard, seen = hash_media(sound), hash_media(clip)
    rows = lake.read(ITEMS).sort("item_id")
    assert rows.select("audio_uri", "audio_hash", "video_hash").rows() == [
        ("a.ogg", heard, seen),
        (f"media:{heard}", heard, None),
        (None, None, None),
    ]
    assert sorted(lake.read(MEDIA)["hash"]) == sorted([heard, seen])
    assert read_media(lake, rows) == {heard: sound, seen: clip}


def test_a_sound_of_parquet_lands_from_its_column(lake, tmp_path, sound):
    frame = pl.DataFrame({"item_id": ["a"], "updated_at": ["2026-01-01T00:00:00Z"]})
    audio = pl.Series("audio", [{"bytes": sound, "path": "a.ogg"}])
    frame.with_columns(audio).write_parquet(tmp_path / "items.parquet")
    land(open_source(tmp_path), lake)
    assert lake.read(ITEMS)["audio_hash"].to_list() == [hash_media(sound)]


def test_bad_sounds_are_dead_letters_with_their_reasons_and_stop_nothing(lake, tmp_path, sound):
    wav = tone_file(seconds=0.2)
    broken = tone(seconds=0.2)
    broken[7] = np.nan
    bad = {
        "empty": (wav[: wav.index(b"data") + 4] + bytes(4), "at least one sample, got none"),
        "cut off": (wav[: len(wav) // 2], "a sound must be whole, got one that is cut off"),
        "fast": (tone_file(rate_hz=192_000, seconds=0.1), "samples a second, got 192000"),
        "broken": (encoded(broken, kind="wav of floats"), "must be finite numbers"),
        "long": (tone_file("mp3", seconds=3.0), "a sound may last at most 2 s"),
        "page.wav": (b"<!DOCTYPE html>", "a sound must be a WAV, FLAC, Ogg or MP3"),
        "playlist": (b"#EXTM3U\nhttp://169.254.169.254/\n", "a sound must be a WAV, FLAC, Ogg or"),
        "large": (wav + bytes(60_000), "a sound may have at most 60000 bytes"),
    }
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    report = landed(
        lake,
        *[record(number, audio_uri=name) for number, name in enumerate(bad)],
        record(97, audio_uri="gone.wav"),
        record(98, title="good", audio_uri=data_uri(sound)),
        record(99, audio_uri="../a.ogg"),
        base_dir=tmp_path,
        max_bytes=60_000,
        max_duration_s=2,
    )
    assert lake.read(ITEMS)["item_id"].to_list() == ["i98"]
    assert report.dead_letters == len(bad) + 2
    letters = lake.read(DEAD_LETTERS).sort("offset")
    assert set(letters["stage"]) == {"media"}
    told = letters["reason"].to_list()
    for reason, (_, expected) in zip(told, bad.values(), strict=False):
        assert expected in reason
    assert "audio_uri must name a file of the data folder, got 'gone.wav'" in told[-2]
    assert "audio_uri must stay inside the data folder" in told[-1]


def test_a_sound_is_fetched_once_with_its_own_limit_of_bytes(lake, sound):
    asked = []

    def fetch(uri):
        asked.append(uri)
        return sound

    uri = "http://shop.example/a.ogg"
    records = [record(0, audio_uri=uri), record(1, audio_uri=uri)]
    with ImageFetcher(ImageConfig(max_bytes=10), fetchers={"http": fetch}) as images:
        land_items(records, lake, images=images)
    assert lake.read(ITEMS)["audio_hash"].to_list() == [hash_media(sound)] * 2
    assert asked == [uri]


def test_a_sound_of_a_file_has_its_own_limit_of_bytes_too(lake, tmp_path, sound):
    (tmp_path / "a.ogg").write_bytes(sound)
    with ImageFetcher(ImageConfig(max_bytes=10), base_dir=tmp_path) as images:
        land_items([record(0, audio_uri="a.ogg")], lake, images=images)
    assert lake.read(ITEMS)["audio_hash"].to_list() == [hash_media(sound)]


def test_which_of_two_addresses_of_one_moment_stays_does_not_depend_on_their_order(tmp_path, sound):
    for name in "ab":
        (tmp_path / name).write_bytes(sound)
    kept = []
    for names in ("ab", "ba"):
        lake = Lake(str(tmp_path / names / "lake"))
        for name in names:
            landed(lake, record(0, audio_uri=name), base_dir=tmp_path)
        kept += lake.read(ITEMS)["audio_uri"].to_list()
    assert kept == ["b", "b"]


def test_another_sound_is_another_content_and_a_moved_one_is_not(lake, tmp_path, sound):
    for name, data in (("a", sound), ("b", sound), ("c", tone_file("flac", seconds=0.1))):
        (tmp_path / name).write_bytes(data)
    hashes = []
    for number, name in enumerate("abc"):
        updated = f"2026-01-0{number + 1}T00:00:00Z"
        landed(lake, record(0, audio_uri=name, updated_at=updated), base_dir=tmp_path)
        [row] = lake.read(ITEMS).rows(named=True)
        assert row["audio_uri"] == name
        hashes.append(row["content_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_message_with_a_sound_waits_for_it_and_may_name_no_file(lake, sound):
    records = [record(0, audio_uri=data_uri(sound)), record(1, audio_uri="/etc/passwd")]
    batch = Batch()
    messages = [
        SimpleNamespace(topic="items", partition=0, offset=n, key=b"", value=r.value, timestamp=0)
        for n, r in enumerate(records)
    ]
    parse_item_messages(messages, batch, decoder=None)
    assert batch.items().is_empty()
    with ImageFetcher() as images:
        write_media(batch, lake, images)
    assert batch.items()["audio_hash"].to_list() == [hash_media(sound)]
    assert batch.dead_letters()["reason"].str.starts_with("audio_uri is a path").to_list() == [True]
