"""Records that were checked and wait to be written together."""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from catalog.images.fetcher import Loaded
from catalog.images.shown import NOTHING_SHOWN, Shown
from catalog.ingest.rows import Row, dead_letter_row, event_frame, hash_media, item_frame
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS, MEDIA
from catalog.records import (
    NO_FURTHER_MEDIA,
    Event,
    FurtherMedia,
    Item,
    RawRecord,
    RecordError,
)

_PLACE = re.compile(r" \(byte \d+\)| byte 0x\w+ in position \d+")


@dataclass(slots=True)
class Batch:
    """The rows that some records become, either of items or of events."""

    consumed: int = 0
    """Records read, rejected ones included."""

    held_bytes: int = 0
    """Size of what items show and of rejected messages, as far as held."""

    rejected: Counter[str] = field(default_factory=Counter)
    """See `catalog.ingest.report.LandingReport`."""

    without_media: list[tuple[RawRecord, Item]] = field(default_factory=list)
    """Items that count as consumed and are not held yet, for what they show must be had first."""

    _items: list[Item] = field(default_factory=list)
    _image_hashes: list[str | None] = field(default_factory=list)
    _further: list[FurtherMedia] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _item_frames: list[pl.DataFrame] = field(default_factory=list)
    _event_frames: list[pl.DataFrame] = field(default_factory=list)
    _media: dict[str, bytes] = field(default_factory=dict)
    _letters: list[Row] = field(default_factory=list)

    def add_item(self, item: Item, shown: Shown = NOTHING_SHOWN) -> None:
        """Hold an item and what it shows; equal files are held once."""
        self._items.append(item)
        self._image_hashes.append(self._held(shown.image))
        if shown.gallery or shown.clip is not None or shown.audio is not None:
            further = FurtherMedia(
                gallery=tuple(self._hold(image) for image in shown.gallery),
                video=self._held(shown.clip),
                audio=self._held(shown.audio),
            )
            self._further.append(further)
        else:
            self._further.append(NO_FURTHER_MEDIA)

    def _held(self, data: bytes | None) -> str | None:
        return None if data is None else self._hold(data)

    def _hold(self, data: bytes) -> str:
        """Hold an image, a clip or a sound; return its hash."""
        media_hash = hash_media(data)
        if media_hash not in self._media:
            self._media[media_hash] = data
            self.held_bytes += len(data)
        return media_hash

    def add_loaded(self, loaded: Loaded, *, failed_at: datetime) -> None:
        """Hold an item and what it shows, or the record as a dead letter if it cannot be had."""
        if isinstance(loaded.item, RecordError):
            self.reject(loaded.record, loaded.item, failed_at=failed_at)
        else:
            self.add_item(loaded.item, loaded.shown)

    def add_event(self, event: Event) -> None:
        """Hold an event."""
        self._events.append(event)

    def reject(self, record: RawRecord, error: RecordError, *, failed_at: datetime) -> None:
        """Hold a record that cannot be landed, as a dead letter."""
        letter = dead_letter_row(record, error, failed_at=failed_at)
        self._letters.append(letter)
        self.held_bytes += len(letter["value"] or b"")
        self.rejected[f"{error.stage}: {_kind_of(str(error))}"] += 1

    def seal(self) -> None:
        """Turn the items and events held into columns, a fraction of the objects that they are."""
        if self._items:
            self._item_frames.append(item_frame(self._items, self._image_hashes, self._further))
            self._items, self._image_hashes, self._further = [], [], []
        if self._events:
            self._event_frames.append(event_frame(self._events))
            self._events = []

    def extend(self, other: "Batch") -> None:
        """Hold what another, sealed batch holds too."""
        self.consumed += other.consumed
        self.held_bytes += other.held_bytes
        self.rejected += other.rejected
        self.without_media += other.without_media
        self._item_frames += other._item_frames
        self._event_frames += other._event_frames
        self._media |= other._media
        self._letters += other._letters

    def items(self) -> pl.DataFrame:
        """Return the items held, in the columns of `items`."""
        self.seal()
        return pl.concat([ITEMS.empty(), *self._item_frames])

    def events(self) -> pl.DataFrame:
        """Return the events held, in the columns of `events`."""
        self.seal()
        return pl.concat([EVENTS.empty(), *self._event_frames])

    def media(self) -> pl.DataFrame:
        """Return what items show, as far as held, in the columns of `media`."""
        columns = {"hash": list(self._media), "bytes": list(self._media.values())}
        return pl.DataFrame(columns, schema=MEDIA.schema)

    def take_media(self) -> pl.DataFrame:
        """Return the same and hold it no longer; the items stay."""
        taken, self._media = self.media(), {}
        self.held_bytes -= int(taken["bytes"].bin.size().sum())
        return taken

    def dead_letters(self) -> pl.DataFrame:
        """Return the rejected records, in the columns of `dead_letters`."""
        return pl.DataFrame(self._letters, schema=DEAD_LETTERS.schema)


def _kind_of(reason: str) -> str:
    """Return a reason without what differs between messages, so that equal ones add up."""
    return _PLACE.sub("", reason.partition(", got ")[0])
