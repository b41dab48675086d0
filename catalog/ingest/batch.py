"""Records that were checked and wait to be written together."""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from catalog.images.fetcher import Loaded
from catalog.ingest.rows import Row, dead_letter_row, event_frame, hash_image, item_frame
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS, MEDIA
from catalog.records import Event, Item, RawRecord, RecordError

_PLACE = re.compile(r" \(byte \d+\)| byte 0x\w+ in position \d+")


@dataclass(slots=True)
class Batch:
    """The rows that some records become, either of items or of events."""

    consumed: int = 0
    """Records read, rejected ones included."""

    held_bytes: int = 0
    """Size of the images and the rejected messages held."""

    rejected: Counter[str] = field(default_factory=Counter)
    """See `catalog.ingest.report.LandingReport`."""

    without_image: list[tuple[RawRecord, Item]] = field(default_factory=list)
    """Items that count as consumed and are not held yet, for their images must be had first."""

    _items: list[Item] = field(default_factory=list)
    _image_hashes: list[str | None] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _item_frames: list[pl.DataFrame] = field(default_factory=list)
    _event_frames: list[pl.DataFrame] = field(default_factory=list)
    _images: dict[str, bytes] = field(default_factory=dict)
    _letters: list[Row] = field(default_factory=list)

    def add_item(self, item: Item, image: bytes | None) -> None:
        """Hold an item and its image; equal images are held once."""
        image_hash = None
        if image is not None:
            image_hash = hash_image(image)
            if image_hash not in self._images:
                self._images[image_hash] = image
                self.held_bytes += len(image)
        self._items.append(item)
        self._image_hashes.append(image_hash)

    def add_loaded(self, loaded: Loaded, *, failed_at: datetime) -> None:
        """Hold an item and its image, or the record as a dead letter if either cannot be had."""
        if isinstance(loaded.item, RecordError):
            self.reject(loaded.record, loaded.item, failed_at=failed_at)
        else:
            self.add_item(loaded.item, loaded.image)

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
            self._item_frames.append(item_frame(self._items, self._image_hashes))
            self._items, self._image_hashes = [], []
        if self._events:
            self._event_frames.append(event_frame(self._events))
            self._events = []

    def extend(self, other: "Batch") -> None:
        """Hold what another, sealed batch holds too."""
        self.consumed += other.consumed
        self.held_bytes += other.held_bytes
        self.rejected += other.rejected
        self.without_image += other.without_image
        self._item_frames += other._item_frames
        self._event_frames += other._event_frames
        self._images |= other._images
        self._letters += other._letters

    def items(self) -> pl.DataFrame:
        """Return the items held, in the columns of `items`."""
        self.seal()
        return pl.concat([ITEMS.empty(), *self._item_frames])

    def events(self) -> pl.DataFrame:
        """Return the events held, in the columns of `events`."""
        self.seal()
        return pl.concat([EVENTS.empty(), *self._event_frames])

    def images(self) -> pl.DataFrame:
        """Return the images held, in the columns of `media`."""
        columns = {"hash": list(self._images), "bytes": list(self._images.values())}
        return pl.DataFrame(columns, schema=MEDIA.schema)

    def take_images(self) -> pl.DataFrame:
        """Return the images held and hold them no longer; their items stay."""
        taken, self._images = self.images(), {}
        self.held_bytes -= int(taken["bytes"].bin.size().sum())
        return taken

    def dead_letters(self) -> pl.DataFrame:
        """Return the rejected records, in the columns of `dead_letters`."""
        return pl.DataFrame(self._letters, schema=DEAD_LETTERS.schema)


def _kind_of(reason: str) -> str:
    """Return a reason without what differs between messages, so that equal ones add up."""
    return _PLACE.sub("", reason.partition(", got ")[0])
