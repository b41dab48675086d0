"""Tests for catalog/records.py: what the digest of a content covers, and how a row is kept."""

import hashlib
import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.records import FurtherMedia, Item, RawRecord, content_hash

T1 = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_digest_covers_what_is_seen_and_nothing_else():
    seen = {"title": "x", "text": "t", "category": "c", "tags": ["p", "q"]}

    def digest(image_hash="h", **fields):
        return content_hash(Item(**{"item_id": "a", "updated_at": T1} | seen | fields), image_hash)

    unseen = {"item_id": "b", "created_at": T1, "attributes": {"price": 1}, "image_uri": "x.png"}
    unseen |= {"video_uri": "x.mp4", "audio_uri": "x.wav"}
    assert digest() == digest(tags=["q", "p", "p"], **unseen)
    others = [digest(**{name: None if name != "tags" else ["p"]}) for name in seen]
    assert len({digest(), digest(None), *others}) == 2 + len(seen)


def test_the_digest_covers_further_images_in_their_order_the_clip_and_the_sound():
    item = Item(item_id="a", updated_at=T1)

    def digest(*gallery, **further):
        return content_hash(item, "h", FurtherMedia(gallery=gallery, **further))

    digests = [digest(), digest("x"), digest("x", "y"), digest("y", "x"), digest(video="x")]
    digests += [digest("x", video="y"), digest(video="y"), digest(audio="x"), digest(audio="y")]
    digests += [digest(audio="x", video="y"), digest("x", audio="y")]
    assert len(set(digests)) == len(digests)
    assert digests[0] == content_hash(item, "h")  # as it was before there were any


def test_further_images_come_each_once_and_the_first_stands_for_the_item():
    def images(**fields):
        item = Item(item_id="a", updated_at=T1, **fields)
        return item.image_uri, item.image_uris

    assert images(image_uri="a", image_uris=["b", "a", "c", "b"]) == ("a", ["b", "c"])
    assert images(image_uris=["b", "a", "b"]) == ("b", ["a"])
    assert images() == (None, [])


texts = st.text(max_size=20) | st.none()


@settings(deadline=None)
@given(texts, texts, texts, st.lists(st.text(max_size=5), max_size=4), texts, texts)
def test_the_digest_is_that_of_canonical_json(title, text, category, tags, audio, image_hash):
    """The standard library's writer gives the form in which digests were stored from the start."""
    item = Item(
        item_id="a",
        updated_at=T1,
        title=title,
        text=text,
        category=category,
        tags=tags,
    )
    seen = {
        "title": title,
        "text": text,
        "category": category,
        "tags": sorted(set(tags)),
        "image": image_hash,
        "audio": audio,
    }
    canonical = json.dumps(seen, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    expected = hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()
    assert content_hash(item, image_hash, FurtherMedia(audio=audio)) == expected


def test_a_row_is_kept_as_json():
    values = {"updated_at": T1, "item_id": "a", "image": b"GIF"}
    record = RawRecord(topic="t", partition=0, offset=0, value=values)
    assert json.loads(record.raw_bytes()) == {
        "item_id": "a",
        "updated_at": "2026-01-01T00:00:00+00:00",
        "image": "R0lG",
    }
