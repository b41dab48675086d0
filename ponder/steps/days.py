"""Days (UTC), as whoever asks for a part of a log names them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Days:
    """Which days (UTC) are meant."""

    first: date | None = None
    """With it; None: from the first one of the log."""

    last: date | None = None
    """With it; None: to the last one of the log."""

    def __post_init__(self) -> None:
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"the first day must not be after the last, got {self}")

    def __contains__(self, day: date) -> bool:
        return not (self.first and day < self.first) and not (self.last and day > self.last)


ALL_DAYS = Days()


def days_between(first: str | None, last: str | None) -> Days:
    """Return the days between two, with them, written as 2026-03-01; None sets no bound.

    Raises:
        ValueError: one is written otherwise, or the first is after the last.
    """
    return Days(first=_day(first), last=_day(last))


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"a day must be written as 2026-03-01, got {text!r}") from error


def end_of(day: date) -> datetime:
    """Return the moment at which a day ends."""
    return datetime.combine(day, time(), tzinfo=UTC) + timedelta(days=1)
