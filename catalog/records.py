"""Items and events as sources send them, and the records that they come in.

A record arrives as untrusted bytes (Kafka, JSON Lines) or as a row of Python values (Parquet,
MovieLens). `catalog.record_parsing` is the only way in; past it the types can be trusted.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

Action = Literal["impression", "click", "like", "purchase", "skip", "rating", "view"]

AttributeValue = str | int | float | bool


class RecordError(ValueError):
    """A record that cannot be landed; its text is the reason kept in `dead_letters`.

    Attributes:
        stage: "decode" when the bytes are not a record at all, "validate" when a field is wrong,
            "media" when an image, a clip or a sound cannot be had.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage


class Item(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """One item of the catalogue, as a source sends it. Unknown fields are ignored."""

    item_id: str
    """Unique over all sources; 1 to 256 characters."""

    updated_at: datetime
    """When the source last changed it, with a time zone. The newest record of an item wins."""

    created_at: datetime | None = None
    """When it first appeared; `updated_at` when the source does not say."""

    title: str | None = None
    text: str | None = None
    category: str | None = None

    tags: list[str] = []
    """Sorted and without repeats, however they came."""

    attributes: dict[str, AttributeValue] = {}
    """For filters (price, stock, year...); an embedder never sees them."""

    image_uri: str | None = None
    """`file:` path (relative ones start at the data folder), `http(s):`, `s3:` or a `data:` URI."""

    image_uris: list[str] = []
    """Further images in their order, each once. A source may name all of them here: the first is
    taken for `image_uri` then."""

    video_uri: str | None = None
    """A clip, named as an image is."""

    audio_uri: str | None = None
    """A sound, named as an image is."""

    deleted: bool = False
    """A tombstone. The other fields are then ignored."""

    def __post_init__(self) -> None:
        if len(self.tags) > 1:
            msgspec.structs.force_setattr(self, "tags", sorted(set(self.tags)))
        if self.image_uris:
            named = [self.image_uri] if self.image_uri else []
            first, *others = dict.fromkeys([*named, *self.image_uris])
            msgspec.structs.force_setattr(self, "image_uri", first)
            msgspec.structs.force_setattr(self, "image_uris", others)


class Event(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """One thing a user did, or was shown. Unknown fields are ignored."""

    event_id: str
    """Unique; the same id sent twice is one event."""

    user_id: str
    item_id: str
    action: Action
    ts: datetime
    request_id: str | None = None
    value: float | None = None
    position: int | None = None


@dataclass(slots=True)  # not frozen, which would double what a million records a minute cost
class RawRecord:
    """A record before it is trusted, with the position it came from."""

    topic: str
    """Kafka topic, or the file's path below the data folder."""

    partition: int
    offset: int
    """Position in the source: Kafka offset, or the row's number in its file, from 0."""

    value: bytes | Mapping[str, Any] | None
    """JSON bytes or a row of Python values; None is a tombstone for the item named by `key`."""

    key: bytes | None = None

    timestamp: datetime | None = None
    """When the broker took it; dates a tombstone, which has no payload that could."""

    defect: str | None = None
    """Why its source could not read it: such a record is refused, and kept as far as it is there.
    It stands for everything that the source holds from this position on."""

    def raw_bytes(self) -> bytes | None:
        """Return the message as `dead_letters` keeps it; a row is written as JSON."""
        if self.value is None or isinstance(self.value, bytes):
            return self.value
        return json.dumps(dict(self.value), default=_jsonable, sort_keys=True).encode()


def _jsonable(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else str(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class FurtherMedia:
    """What an item shows beside its image, by the keys of `media`."""

    gallery: tuple[str, ...] = ()
    """Of its further images, in their order."""

    video: str | None = None
    audio: str | None = None


NO_FURTHER_MEDIA = FurtherMedia()


def content_hash(
    item: Item, image_hash: str | None, further: FurtherMedia = NO_FURTHER_MEDIA
) -> str:
    """Digest everything that an embedder can see of an item.

    Two items with equal digests get equal embeddings from one model version, so the digest and the
    version together are the key under which work is skipped. An item without further images, a
    clip and a sound has the digest that it had before there were any. Left out are times, addresses
    (an image that moves to another URI is the same image) and `attributes`: they are for filters,
    and a price that changes every night must not cost an embedding. Words that describe an item
    belong into `text`.

    Returns:
        32 hexadecimal digits.
    """
    seen = _Seen(
        title=item.title,
        text=item.text,
        category=item.category,
        tags=item.tags,
        image=image_hash,
        audio=further.audio,
    )
    digest = hashlib.blake2b(_ENCODER.encode(seen), digest_size=16)
    if further.gallery or further.video is not None:
        digest.update(_ENCODER.encode([further.gallery, further.video]))
    return digest.hexdigest()


class _Seen(msgspec.Struct, kw_only=True, gc=False):
    """What an embedder can see. Names and order are part of every digest ever stored."""

    audio: str | None
    category: str | None
    image: str | None
    tags: list[str]
    text: str | None
    title: str | None


_ENCODER = msgspec.json.Encoder()
