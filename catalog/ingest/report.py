"""What a landing did, as numbers that add up over batches."""

from collections import Counter
from dataclasses import dataclass, field

from catalog.lake.upsert import UpsertCounts


@dataclass(frozen=True, kw_only=True, slots=True)
class LandingReport:
    """What a landing read and wrote."""

    consumed: int = 0
    """Records read."""

    items: UpsertCounts = field(default_factory=UpsertCounts)

    events: int = 0
    """Events written: new ones, and later forms of stored ones."""

    known_events: int = 0
    """Events that were stored already, or came twice."""

    images: int = 0
    """New images written."""

    dead_letters: int = 0
    """Dead letters written; a record rejected again in the same way adds none."""

    rejected: Counter[str] = field(default_factory=Counter)
    """Records that could not be landed, by "stage: reason" without the offending values."""

    def __add__(self, other: "LandingReport") -> "LandingReport":
        return LandingReport(
            consumed=self.consumed + other.consumed,
            items=self.items + other.items,
            events=self.events + other.events,
            known_events=self.known_events + other.known_events,
            images=self.images + other.images,
            dead_letters=self.dead_letters + other.dead_letters,
            rejected=self.rejected + other.rejected,
        )
