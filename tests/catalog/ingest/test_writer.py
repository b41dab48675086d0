"""Tests for writer.py: the pictures of a batch, written before what points at them."""

import io
import json
import threading
from collections import namedtuple

from PIL import Image

from catalog.images.fetcher import PictureLoader
from catalog.images.image import MediaConfig, data_uri
from catalog.ingest.batch import Batch
from catalog.ingest.message_parsing import check_items
from catalog.ingest.writer import write_items, write_pictures
from catalog.lake.tables import ITEMS, MEDIA

Message = namedtuple("Message", "topic partition offset key value timestamp")
T1 = "2026-01-01T00:00:00Z"


def batch_of(*items):
    """A batch of item messages, and their values."""
    values = [json.dumps(fields | {"updated_at": T1}).encode() for fields in items]
    batch = Batch()
    messages = [Message("items", 0, n, b"k", value, 0) for n, value in enumerate(values)]
    check_items(messages, batch, decoder=None)
    return batch, values


def painted(color):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), color).save(buffer, format="PNG")
    return buffer.getvalue()


def test_pictures_are_loaded_after_the_checks_and_their_failures_keep_the_message(lake, picture):
    batch, values = batch_of(
        {"item_id": "a", "image_uri": data_uri(picture)},
        {"item_id": "b", "image_uri": "/etc/passwd"},
        {"item_id": "c", "image_uri": "/etc/passwd", "deleted": True},
    )
    assert batch.items()["item_id"].to_list() == ["c"]
    assert write_pictures(batch, lake, PictureLoader()) == 0
    assert sorted(batch.items()["item_id"]) == ["a", "c"]
    assert batch.pictures()["bytes"].to_list() == [picture]
    assert batch.dead_letters()["value"].to_list() == [values[1]]
    assert batch.consumed == 3


def test_more_pictures_than_may_be_held_are_written_in_parts(lake):
    pictures = [painted(color) for color in ("red", "green", "blue")]
    room = len(pictures[0]) + len(pictures[1])
    batch, _ = batch_of(
        *({"item_id": str(n), "image_uri": data_uri(each)} for n, each in enumerate(pictures))
    )
    assert write_pictures(batch, lake, PictureLoader(), max_held_bytes=room) == 2
    assert batch.pictures()["bytes"].to_list() == pictures[2:]
    assert set(lake.read(MEDIA)["bytes"]) == set(pictures[:2])
    write_items(batch, lake)
    assert set(lake.read(MEDIA)["bytes"]) == set(pictures)
    landed = lake.read(ITEMS).join(lake.read(MEDIA), left_on="image_hash", right_on="hash")
    assert landed.sort("item_id")["bytes"].to_list() == pictures


def test_a_batch_is_written_when_it_is_due_without_the_pictures_that_are_late(lake, picture):
    due = threading.Event()

    def fetch(uri):
        due.wait(10)
        return picture

    batch, values = batch_of(
        {"item_id": "late", "image_uri": "http://slow/a.png"},
        {"item_id": "there", "image_uri": data_uri(picture)},
    )
    config = MediaConfig(batch_timeout_s=0.2)
    with PictureLoader(config, fetchers={"http": fetch}) as pictures:
        write_pictures(batch, lake, pictures)
        due.set()
    assert batch.items()["item_id"].to_list() == ["there"]
    assert batch.dead_letters()["value"].to_list() == [values[0]]
