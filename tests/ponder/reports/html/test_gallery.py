"""Tests for ponder/reports/html/gallery.py."""

import base64
import io
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from PIL import Image

from catalog.audio.decoding import decode
from catalog.audio.limits import DEFAULT_LIMITS, DEFAULT_SAMPLING
from catalog.images.check import ImageError
from catalog.ingest.rows import item_frame
from catalog.lake.lake import Lake
from catalog.lake.tables import MEDIA
from catalog.records import NO_FURTHER_MEDIA, FurtherMedia, Item
from ponder.reports.html.gallery import cards, thumbnail_uri
from tests.clips import bar_clip
from tests.sounds import pitch_hz, tone_file


def encoded(pixels_HWC):
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))


def test_a_large_image_keeps_its_shape_and_fits_into_128_pixels():
    assert decoded(thumbnail_uri(encoded(np.zeros((600, 1200, 3), np.uint8)))).size == (128, 64)


def test_a_small_image_is_not_enlarged():
    assert decoded(thumbnail_uri(encoded(np.zeros((20, 10, 3), np.uint8)))).size == (10, 20)


def test_the_hardest_images_still_leave_a_page_under_three_megabytes():
    noise = np.random.default_rng(0).integers(0, 256, size=(300, 300, 3), dtype=np.uint8)
    shown = 10 * (1 + 6) + 4 * 3 * 6 + 8  # neighbours, queries of four tiers, reasoned items
    assert shown * len(thumbnail_uri(encoded(noise))) < 2.8e6


def test_an_item_with_a_clip_moves_on_its_card(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    clip = bar_clip(num_frames=12)
    file = encoded(np.zeros((20, 10, 3), np.uint8))
    lake.insert_new(MEDIA, pl.DataFrame({"hash": ["v", "i"], "bytes": [clip, file]}))
    broken = FurtherMedia(video="gone")
    items = [Item(item_id=name, updated_at=datetime(2026, 1, 1, tzinfo=UTC)) for name in "abc"]
    further = [FurtherMedia(video="v"), NO_FURTHER_MEDIA, broken]
    lake.upsert_items(item_frame(items, ["i", "i", None], further))
    made = cards(lake, ["a", "b", "c"])
    assert decoded(made["a"].image).n_frames > 1
    assert decoded(made["a"].image).size == (64, 48)
    assert decoded(made["b"].image).size == (10, 20)
    assert made["c"].missing == "no image"


def test_an_item_with_a_sound_has_a_player_on_its_card(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    file = encoded(np.zeros((20, 10, 3), np.uint8))
    sound = tone_file(hz=600.0, seconds=4.0, rate_hz=16_000)
    media = {"hash": ["i", "s", "x"], "bytes": [file, sound, b"none"]}
    lake.insert_new(MEDIA, pl.DataFrame(media))
    items = [Item(item_id=name, updated_at=datetime(2026, 1, 1, tzinfo=UTC)) for name in "abc"]
    further = [FurtherMedia(audio="s"), FurtherMedia(audio="x"), NO_FURTHER_MEDIA]
    lake.upsert_items(item_frame(items, ["i", "i", "i"], further))
    made = cards(lake, ["a", "b", "c"])
    mp3 = base64.b64decode(made["a"].audio.removeprefix("data:audio/mpeg;base64,"))
    heard = decode(mp3, DEFAULT_LIMITS, DEFAULT_SAMPLING).samples
    assert len(heard) / 16_000 == pytest.approx(3.0, abs=0.05)
    assert pitch_hz(heard, 16_000) == pytest.approx(600, abs=1)
    assert (made["b"].audio, made["c"].audio) == ("", "")
    assert all(decoded(card.image).size == (10, 20) for card in made.values())


def test_what_is_no_image_is_refused():
    with pytest.raises(ImageError):
        thumbnail_uri(b"<svg onload=alert(1)>")
