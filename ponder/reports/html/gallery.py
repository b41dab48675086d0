"""Items as they are shown: a title and a small image that lies inside the page."""

import base64
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

from catalog.audio.limits import AudioError
from catalog.clips.limits import ClipError
from catalog.decoding.decoder import GuardedDecoder
from catalog.images.check import ImageError
from catalog.lake.lake import Lake
from catalog.lake.shown_media import read_media
from catalog.lake.tables import ITEMS
from serving.thumbnail import moving_thumbnail, playable, thumbnail

SIDE = 128  # pixels of a thumbnail's longer side
PLAYED_S = 3.0  # of a sound


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One item, to be shown."""

    item_id: str

    title: str
    """Untrusted; the id for an item without a title."""

    image: str = ""
    """A `data:` URI made by us; empty when there is none, and `missing` says why."""

    missing: str = ""

    audio: str = ""
    """Of the start of its sound, as `image`; empty when there is none that can be read."""


def cards(lake: Lake, item_ids: Collection[str]) -> dict[str, Card]:
    """Return a card for every id, also for those that the lake does not hold."""
    items = lake.scan(ITEMS).filter(pl.col("item_id").is_in(list(item_ids))).collect()
    shown, decoder = read_media(lake, items), GuardedDecoder()
    known = {row["item_id"]: _card(row, shown, decoder) for row in items.iter_rows(named=True)}
    return {
        item_id: known.get(item_id) or Card(item_id=item_id, title=item_id, missing="unknown item")
        for item_id in item_ids
    }


def thumbnail_uri(data: bytes) -> str:
    """Return a `data:` URI of an image whose longer side has at most 128 pixels.

    Raises:
        ImageError: the bytes are no image; the text says why.
    """
    return _uri(thumbnail(data, side=SIDE))


def _uri(data: bytes, kind: str = "image/webp") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _card(row: Mapping[str, Any], media: Mapping[str, bytes], decoder: GuardedDecoder) -> Card:
    """Return an item's card; what moves is shown rather than what does not."""
    card = {"item_id": row["item_id"], "title": row["title"] or row["item_id"]}
    if (audio := media.get(row["audio_hash"])) is not None:
        with suppress(AudioError):
            card["audio"] = _uri(playable(audio, decoder, max_s=PLAYED_S), "audio/mpeg")
    if (clip := media.get(row["video_hash"])) is not None:
        try:
            return Card(**card, image=_uri(moving_thumbnail(clip, decoder, side=SIDE)))
        except ClipError:
            return Card(**card, missing="unreadable clip")
    image = media.get(row["image_hash"])
    if image is None:
        return Card(**card, missing="no image")
    try:
        return Card(**card, image=thumbnail_uri(image))
    except ImageError:
        return Card(**card, missing="unreadable image")
