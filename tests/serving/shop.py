"""A lake by hand: four items, one of them hostile and one deleted, and two users."""

import hashlib
import io
from datetime import UTC, datetime, timedelta

import polars as pl
from PIL import Image

from catalog.lake.lake import Lake
from catalog.lake.tables import EMBEDDINGS, EVENTS, ITEMS, MEDIA

START = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def image_file(colour, side=400):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side // 2), colour).save(buffer, "PNG")
    return buffer.getvalue()


IMAGE = image_file("red")
IMAGE_HASH = hashlib.sha256(IMAGE).hexdigest()


def item(item_id, day, **fields):
    at = START + timedelta(days=day)
    nothing = dict.fromkeys(ITEMS.columns)
    given = {"item_id": item_id, "title": f"a {item_id}", "tags": [], "attributes": "{}"}
    times = {"created_at": START, "updated_at": at, "deleted": False}
    return nothing | given | times | {"content_hash": f"hash-{item_id}"} | fields


ITEM_ROWS = [
    item("rose", 1, category="garden", tags=["cut", "new"], image_hash=IMAGE_HASH),
    item("leaf", 2, category="garden", tags=["new"], attributes='{"price": 3, "brand": "acme"}'),
    item("sky", 3, title=HOSTILE, text=HOSTILE, category=HOSTILE),
    item("gone", 4, deleted=True),
]


def event(number, user_id, item_id, action):
    at = START + timedelta(hours=number)
    row = dict.fromkeys(EVENTS.columns) | {"event_id": str(number), "ts": at}
    return row | {"user_id": user_id, "item_id": item_id, "action": action}


EVENT_ROWS = [
    event(1, "ann", "leaf", "click"),
    event(2, "ann", "gone", "click"),
    event(3, "ann", "rose", "purchase"),
    event(4, "ann", "sky", "impression"),
    event(5, "bob", "sky", "like"),
]


def embedding(item_id, version, action, probability, content_hash=None):
    return {
        "item_id": item_id,
        "content_hash": content_hash or f"hash-{item_id}",
        "model_version": version,
        "vector": [1.0, 0.0],
        "action": action,
        "gate_probability": probability,
        "rationale_tokens": 0,
    }


EMBEDDING_ROWS = [
    embedding("rose", "v1", "direct", 0.25),
    embedding("leaf", "v1", "reason", 0.75),
    embedding("sky", "v1", "direct", 0.0, "hash-of-an-earlier-content"),
    embedding("gone", "v1", "direct", 0.0),
    embedding("rose", "v2", "reason", 1.0),
]


def write_shop(folder):
    """Write the lake into a folder, and return it."""
    lake = Lake(str(folder))
    lake.insert_new(MEDIA, pl.DataFrame({"hash": [IMAGE_HASH], "bytes": [IMAGE]}))
    lake.upsert_items(pl.DataFrame(ITEM_ROWS, schema=ITEMS.schema))
    lake.upsert_events(pl.DataFrame(EVENT_ROWS, schema=EVENTS.schema))
    lake.insert_new(EMBEDDINGS, pl.DataFrame(EMBEDDING_ROWS, schema=EMBEDDINGS.schema))
    return lake
