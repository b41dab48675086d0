"""Items, images and users of a lake, one at a time or in short lists, as people look at them."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from catalog.audio.limits import AudioError
from catalog.clips.limits import ClipError
from catalog.decoding.decoder import GuardedDecoder
from catalog.images.check import ImageError
from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS, ITEMS, MEDIA
from features.histories import HistoryConfig, liked_items, positive_events
from recall.errors import NotFound
from serving.catalogue_replies import (
    ActiveUser,
    AttributeValue,
    CatalogueReply,
    ItemReply,
    UserReply,
    ValueCount,
)
from serving.remembered import Remembered
from serving.thumbnail import moving_thumbnail, playable, thumbnail

THUMBNAIL_SIDE = 320
NUM_THUMBNAILS = 1_000  # kept in memory, some 10 kB each
NUM_MOVING_THUMBNAILS = 100  # some 100 kB each
NUM_SOUNDS = 100  # some 40 kB each
PLAYED_S = 10.0
NUM_NEWEST = 24
NUM_LIKED = 24
NUM_VALUES = 200
NUM_USERS = 24
RECENT_EVENTS = 20_000
OVERVIEW_MAX_AGE_S = 60.0
LIVING = ~pl.col("deleted")


class Catalogue:
    """What people look at while they query; safe to call from several threads.

    Every call reads the lake, which has no index by id: some milliseconds on a laptop, more on a
    large catalogue in an object store. It is made for a person's page, not for traffic.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._overview = Remembered(self._read_overview, max_age_s=OVERVIEW_MAX_AGE_S)
        self._thumbnail = lru_cache(NUM_THUMBNAILS)(self._make_thumbnail)
        self._moving_thumbnail = lru_cache(NUM_MOVING_THUMBNAILS)(self._make_moving_thumbnail)
        self._playable = lru_cache(NUM_SOUNDS)(self._make_playable)
        self._guarded_decoder = GuardedDecoder(max_processes=1)

    def items(self, item_ids: Sequence[str]) -> list[ItemReply]:
        """Return those of the items that are there and not deleted, in the order of the ids."""
        found = self._living().filter(pl.col("item_id").is_in(item_ids)).collect()
        by_id = {row["item_id"]: row for row in found.iter_rows(named=True)}
        return [_item(by_id[item_id]) for item_id in dict.fromkeys(item_ids) if item_id in by_id]

    def item(self, item_id: str) -> ItemReply:
        """Return one item.

        Raises:
            NotFound: there is none, or it is deleted.
        """
        found = self.items([item_id])
        if not found:
            raise NotFound(f"item {item_id!r} is not in the catalogue")
        return found[0]

    def image(self, image_hash: str) -> bytes:
        """Return a landed image as WebP of at most 320 pixels a side.

        Raises:
            NotFound: no such image was landed, or it cannot be read.
        """
        return self._thumbnail(image_hash)

    def clip(self, video_hash: str) -> bytes:
        """Return frames of a landed clip as an animated WebP of at most 320 pixels a side.

        Raises:
            NotFound: no such clip was landed, or it cannot be read.
        """
        return self._moving_thumbnail(video_hash)

    def audio(self, audio_hash: str) -> bytes:
        """Return the first ten seconds of a landed sound as MP3.

        Raises:
            NotFound: no such sound was landed, or it cannot be read.
        """
        return self._playable(audio_hash)

    def user(self, user_id: str) -> UserReply:
        """Return what a user did, and the newest items that they liked."""
        events = self._lake.scan(EVENTS).filter(pl.col("user_id") == user_id).collect()
        return UserReply(
            user_id=user_id,
            num_events=len(events),
            last_event_at=events["ts"].max(),  # type: ignore[arg-type]
            liked=self.items(liked_items(events)[: 4 * NUM_LIKED])[:NUM_LIKED],
        )

    def overview(self) -> CatalogueReply:
        """Return what there is to look for, read at most a minute ago."""
        return self._overview.get()

    def _living(self) -> pl.LazyFrame:
        return self._lake.scan(ITEMS).filter(LIVING)

    def _make_thumbnail(self, image_hash: str) -> bytes:
        image = self._landed("image", image_hash)
        try:
            return thumbnail(image, side=THUMBNAIL_SIDE)
        except ImageError as error:
            raise NotFound(f"image {image_hash!r} cannot be read: {error}") from error

    def _make_moving_thumbnail(self, video_hash: str) -> bytes:
        clip = self._landed("clip", video_hash)
        try:
            return moving_thumbnail(clip, self._guarded_decoder, side=THUMBNAIL_SIDE)
        except ClipError as error:
            raise NotFound(f"clip {video_hash!r} cannot be read: {error}") from error

    def _make_playable(self, audio_hash: str) -> bytes:
        audio = self._landed("sound", audio_hash)
        try:
            return playable(audio, self._guarded_decoder, max_s=PLAYED_S)
        except AudioError as error:
            raise NotFound(f"sound {audio_hash!r} cannot be read: {error}") from error

    def _landed(self, kind: str, media_hash: str) -> bytes:
        media = self._lake.scan(MEDIA).filter(pl.col("hash") == media_hash).collect()
        if media.is_empty():
            raise NotFound(f"{kind} {media_hash!r} was not landed")
        return media["bytes"][0]

    def _read_overview(self) -> CatalogueReply:
        living = self._living()
        count, newest, categories, tags = pl.collect_all(
            [
                living.select(pl.len()),
                living.sort("updated_at", "item_id", descending=[True, False]).head(NUM_NEWEST),
                _most_frequent(living.select(value="category")),
                _most_frequent(living.select(value="tags").explode("value")),
            ]
        )
        rows = [_item(row) for row in newest.iter_rows(named=True)]
        return CatalogueReply(
            num_items=count.item(),
            newest=rows,
            categories=[ValueCount(**row) for row in categories.iter_rows(named=True)],
            tags=[ValueCount(**row) for row in tags.iter_rows(named=True)],
            attributes=sorted({name for row in rows for name in row.attributes}),
            users=self._active_users(),
        )

    def _active_users(self) -> list[ActiveUser]:
        columns = ["user_id", "action", "value", "ts"]
        recent = self._lake.scan(EVENTS).select(columns).top_k(RECENT_EVENTS, by="ts").collect()
        counted = (
            positive_events(recent, config=HistoryConfig())
            .group_by("user_id")
            .len("num_events")
            .sort("num_events", "user_id", descending=[True, False])
            .head(NUM_USERS)
        )
        return [ActiveUser(**row) for row in counted.iter_rows(named=True)]


def _most_frequent(values: pl.LazyFrame) -> pl.LazyFrame:
    """Return value and num_items of the most frequent values, ties in order of the value."""
    counted = values.drop_nulls().group_by("value").len("num_items")
    return counted.sort("num_items", "value", descending=[True, False]).head(NUM_VALUES)


def _item(row: dict[str, Any]) -> ItemReply:
    attributes: dict[str, AttributeValue] = json.loads(row["attributes"] or "{}")
    image_hash = row["image_hash"]
    return ItemReply(
        item_id=row["item_id"],
        title=row["title"],
        text=row["text"],
        category=row["category"],
        tags=row["tags"] or [],
        attributes=attributes,
        image=None if image_hash is None else f"/v1/images/{image_hash}",
        gallery=[f"/v1/images/{key}" for key in row["gallery_hashes"] or ()],
        clip=None if row["video_hash"] is None else f"/v1/clips/{row['video_hash']}",
        audio=None if row["audio_hash"] is None else f"/v1/audio/{row['audio_hash']}",
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
