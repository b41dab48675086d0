"""Records that were checked and wait to be written together."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from catalog.records import Event, Item, RawRecord, RecordError
from catalog.rows import Row, dead_letter_row, event_row, frame, item_row, picture_hash
from catalog.tables import DEAD_LETTERS, EVENTS, ITEMS, MEDIA


@dataclass(slots=True)
class Batch:
    """The rows that some records become, either of items or of events."""

    consumed: int = 0
    """Records read, rejected ones included."""

    held_bytes: int = 0
    """Size of the pictures and the rejected messages held."""

    rejected: Counter[str] = field(default_factory=Counter)
    """See `catalog.report.LandingReport`."""

    _rows: list[Row] = field(default_factory=list)
    _pictures: dict[str, bytes] = field(default_factory=dict)
    _letters: list[Row] = field(default_factory=list)

    def add_item(self, item: Item, picture: bytes | None) -> None:
        """Hold an item and its picture; equal pictures are held once."""
        image_hash = None
        if picture is not None:
            image_hash = picture_hash(picture)
            if image_hash not in self._pictures:
                self._pictures[image_hash] = picture
                self.held_bytes += len(picture)
        self._rows.append(item_row(item, image_hash))

    def add_event(self, event: Event) -> None:
        """Hold an event."""
        self._rows.append(event_row(event))

    def reject(self, record: RawRecord, error: RecordError, *, failed_at: datetime) -> None:
        """Hold a record that cannot be landed, as a dead letter."""
        letter = dead_letter_row(record, error, failed_at=failed_at)
        self._letters.append(letter)
        self.held_bytes += len(letter["value"] or b"")
        self.rejected[f"{error.stage}: {str(error).partition(', got ')[0]}"] += 1

    def items(self) -> pl.DataFrame:
        """The items held, in the columns of `items`."""
        return frame(self._rows, ITEMS)

    def events(self) -> pl.DataFrame:
        """The events held, in the columns of `events`."""
        return frame(self._rows, EVENTS)

    def pictures(self) -> pl.DataFrame:
        """The pictures held, in the columns of `media`."""
        columns = {"hash": list(self._pictures), "bytes": list(self._pictures.values())}
        return pl.DataFrame(columns, schema=MEDIA.schema)

    def dead_letters(self) -> pl.DataFrame:
        """The rejected records, in the columns of `dead_letters`."""
        return frame(self._letters, DEAD_LETTERS)
