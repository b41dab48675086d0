"""Tests for writer.py: the images of a batch, written before what points at them."""

import io
import json
import threading
from collections import namedtuple

from PIL import Image

from catalog.images.fetcher import ImageFetcher
from catalog.images.image import ImageConfig, data_uri
from catalog.ingest.batch import Batch
from catalog.ingest.message_parsing import parse_item_messages
from catalog.ingest.writer import write_items, write_media
from catalog.lake.tables import ITEMS, MEDIA

Message = namedtuple("Message", "topic partition offset key value timestamp")
T1 = "2026-01-01T00:00:00Z"


def batch_of(*items):
    """A batch of item messages, and their values."""
    values = [json.dumps(fields | {"updated_at": T1}).encode() for fields in items]
    batch = Batch()
    messages = [Message("items", 0, n, b"k", value, 0) for n, value in enumerate(values)]
    parse_item_messages(messages, batch, decoder=None)
    return batch, values


def painted(color):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), color).save(buffer, format="PNG")
    return buffer.getvalue()


def test_images_are_loaded_after_the_checks_and_their_failures_keep_the_message(lake, image):
    batch, values = batch_of(
        {"item_id": "a", "image_uri": data_uri(image)},
        {"item_id": "b", "image_uri": "/etc/passwd"},
        {"item_id": "c", "image_uri": "/etc/passwd", "deleted": True},
    )
    assert batch.items()["item_id"].to_list() == ["c"]
    assert write_media(batch, lake, ImageFetcher()) == 0
    assert sorted(batch.items()["item_id"]) == ["a", "c"]
    assert batch.media()["bytes"].to_list() == [image]
    assert batch.dead_letters()["value"].to_list() == [values[1]]
    assert batch.consumed == 3


def test_more_images_than_may_be_held_are_written_in_parts(lake):
    images = [painted(color) for color in ("red", "green", "blue")]
    room = len(images[0]) + len(images[1])
    batch, _ = batch_of(
        *({"item_id": str(n), "image_uri": data_uri(each)} for n, each in enumerate(images))
    )
    assert write_media(batch, lake, ImageFetcher(), max_held_bytes=room) == 2
    assert batch.media()["bytes"].to_list() == images[2:]
    assert set(lake.read(MEDIA)["bytes"]) == set(images[:2])
    write_items(batch, lake)
    assert set(lake.read(MEDIA)["bytes"]) == set(images)
    landed = lake.read(ITEMS).join(lake.read(MEDIA), left_on="image_hash", right_on="hash")
    assert landed.sort("item_id")["bytes"].to_list() == images


def test_a_batch_is_written_when_it_is_due_without_the_images_that_are_late(lake, image):
    due = threading.Event()

    def fetch(uri):
        due.wait(10)
        return image

    batch, values = batch_of(
        {"item_id": "late", "image_uri": "http://slow/a.png"},
        {"item_id": "there", "image_uri": data_uri(image)},
    )
    config = ImageConfig(batch_timeout_s=0.2)
    with ImageFetcher(config, fetchers={"http": fetch}) as images:
        write_media(batch, lake, images)
        due.set()
    assert batch.items()["item_id"].to_list() == ["there"]
    assert batch.dead_letters()["value"].to_list() == [values[0]]
