"""Events taken out or put right by a person, with who, when and why kept for ever.

What an event said before is kept in `event_corrections`, and written there first, so that a crash
loses nothing. A form that was dropped or corrected does not come back when its source is landed
again; the same event in yet another form is news, and lands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import EVENT_CORRECTIONS, EVENTS
from catalog.record_parsing import parse_event
from catalog.records import RawRecord, RecordError

CORRECTABLE = ("request_id", "user_id", "item_id", "action", "value", "position", "ts")

EXAMPLES = 5
"""Events named before anything is done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFilter:
    """Which events are meant: those that agree with everything that is set."""

    event_ids: tuple[str, ...] = ()
    """One of these, if any is named."""

    user_id: str | None = None
    item_id: str | None = None
    request_id: str | None = None
    action: str | None = None

    since: datetime | None = None
    """Happened at this moment or later; with a time zone."""

    until: datetime | None = None
    """Happened before this moment; with a time zone."""

    def __post_init__(self) -> None:
        if not any(getattr(self, name) for name in self.__dataclass_fields__):
            raise ValueError("name the events that are meant, by id, user, item, request or time")
        for moment in (self.since, self.until):
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"times must carry a time zone, got {moment.isoformat()}")

    def matching(self, events: pl.LazyFrame) -> pl.LazyFrame:
        """Filter the events that are meant."""
        if self.event_ids:
            events = events.filter(pl.col("event_id").is_in(list(self.event_ids)))
        for name in ("user_id", "item_id", "request_id", "action"):
            if (value := getattr(self, name)) is not None:
                events = events.filter(pl.col(name) == value)
        if self.since is not None:
            events = events.filter(pl.col("ts") >= self.since)
        if self.until is not None:
            events = events.filter(pl.col("ts") < self.until)
        return events


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """Who changes events, when, and why."""

    by: str
    at: datetime
    reason: str

    def __post_init__(self) -> None:
        if not (self.by.strip() and self.reason.strip()):
            raise ValueError("a correction must say who makes it, and why")


@dataclass(frozen=True, kw_only=True, slots=True)
class EventChanges:
    """What a correction changes, or would change."""

    matched: int
    """Events that are meant."""

    changed: int
    """Of these, the ones that are dropped, or are not yet as they should be."""

    total: int
    """All events of the lake."""

    first: tuple[str, ...]
    """Ids of the first that change."""

    done: bool
    """False when it was only tried out."""


def drop_events(
    lake: Lake, meant: EventFilter, note: Note, *, max_share: float = 1.0, dry_run: bool = False
) -> EventChanges:
    """Drop events from the lake; `event_corrections` keeps them.

    Args:
        lake: its events.
        meant: which of them.
        note: kept with every one.
        max_share: of all events, the largest share that may change at once, in [0, 1].
        dry_run: changes nothing.

    Raises:
        ValueError: more would change; nothing did.
    """
    rows = _meant(lake, meant)
    changes = _checked(lake, rows, num_matched=rows.height, max_share=max_share, dry_run=dry_run)
    if not dry_run:
        lake.insert_new(EVENT_CORRECTIONS, _kept(rows, [None] * rows.height, note))
        lake.delete(EVENTS, rows)
    return changes


def correct_events(
    lake: Lake,
    meant: EventFilter,
    values: Mapping[str, Any],
    note: Note,
    *,
    shift: timedelta = timedelta(),
    max_share: float = 1.0,
    dry_run: bool = False,
) -> EventChanges:
    """Set fields of events to other values; `event_corrections` keeps what they said.

    Args:
        lake: its events.
        meant: which of them.
        values: by field, of `CORRECTABLE`; None takes an optional one away.
        note: kept with every one.
        shift: added to their times, for a clock that was wrong.
        max_share: see `drop_events`.
        dry_run: changes nothing.

    Raises:
        ValueError: an event would not be one that lands, a field is none that can be corrected, or
            more would change than may; nothing did.
    """
    if unknown := sorted(set(values) - set(CORRECTABLE)):
        raise ValueError(f"a field must be one of {', '.join(CORRECTABLE)}, got {unknown[0]!r}")
    stored = _meant(lake, meant)
    corrected = [_corrected(row, values, shift) for row in stored.iter_rows(named=True)]
    after = pl.DataFrame(corrected, schema=EVENTS.schema)
    differs = pl.Series(
        [before != now for before, now in zip(stored.rows(), after.rows(), strict=True)],
        dtype=pl.Boolean,
    )
    rows, after = stored.filter(differs), after.filter(differs)
    changes = _checked(lake, rows, num_matched=stored.height, max_share=max_share, dry_run=dry_run)
    if not dry_run:
        became = [row.write_ndjson().strip() for row in after.iter_slices(1)]
        lake.insert_new(EVENT_CORRECTIONS, _kept(rows, became, note))
        lake.replace(EVENTS, after)
    return changes


def _meant(lake: Lake, meant: EventFilter) -> pl.DataFrame:
    return meant.matching(lake.scan(EVENTS)).sort("ts", "event_id").collect()


def _checked(
    lake: Lake, rows: pl.DataFrame, *, num_matched: int, max_share: float, dry_run: bool
) -> EventChanges:
    total = lake.scan(EVENTS).select(pl.len()).collect().item()
    if rows.height > max_share * total and not dry_run:
        raise ValueError(
            f"{rows.height} of the lake's {total} events would change, and at most a share of "
            f"{max_share} may at once; nothing did. If they are really meant, force it"
        )
    return EventChanges(
        matched=num_matched,
        changed=rows.height,
        total=total,
        first=tuple(rows["event_id"].head(EXAMPLES)),
        done=not dry_run,
    )


def _corrected(
    row: Mapping[str, Any], values: Mapping[str, Any], shift: timedelta
) -> dict[str, Any]:
    fields = {**row, "ts": row["ts"] + shift, **values}
    record = RawRecord(topic="events", partition=0, offset=0, value=fields)
    try:
        event = parse_event(record)
    except RecordError as error:
        raise ValueError(f"event {row['event_id']!r} would not be one: {error}") from error
    fields = {name: getattr(event, name) for name in EVENTS.schema.names()}
    return fields | {"ts": event.ts.astimezone(UTC)}


def _kept(rows: pl.DataFrame, became: Sequence[str | None], note: Note) -> pl.DataFrame:
    return rows.with_columns(
        pl.lit(note.at).alias("corrected_at"),
        pl.lit(note.by).alias("corrected_by"),
        pl.lit(note.reason).alias("reason"),
        pl.Series("became", became, dtype=pl.String),
    ).select(pl.col(name).cast(dtype) for name, dtype in EVENT_CORRECTIONS.schema.items())
