"""How long a call of the client goes on trying, and when it tries again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BUSY = (429, 503)
"""Too many requests, and unavailable: the same request may be answered later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How much a call may try."""

    deadline_s: float = 30.0
    """Seconds for a call, all its tries and the pauses between them together."""

    max_tries: int = 5
    """Tries of a call, the first one among them."""

    first_pause_s: float = 0.1
    """The pause after the first try where the service does not say how long to wait; twice as long
    after each further one, and up to as much again by chance, so that clients spread out."""

    def __post_init__(self) -> None:
        if self.deadline_s <= 0:
            raise ValueError(f"deadline_s must be > 0, got {self.deadline_s}")
        if self.max_tries < 1:
            raise ValueError(f"max_tries must be >= 1, got {self.max_tries}")
        if self.first_pause_s < 0:
            raise ValueError(f"first_pause_s must be >= 0, got {self.first_pause_s}")


class Tries:
    """The tries of one call."""

    def __init__(
        self,
        patience: Patience,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """Start the clock.

        Args:
            patience: how much may be tried.
            clock: seconds that never go back.
            rng: spreads the pauses.
        """
        self._patience = patience
        self._clock = clock
        self._rng = rng or random.Random()
        self._until = clock() + patience.deadline_s
        self._num = 0

    def left_s(self) -> float:
        """Return the seconds that are left; 0 when none are."""
        return max(0.0, self._until - self._clock())

    def pause_s(self, retry_after: str | None = None) -> float | None:
        """Return how long to wait before the next try; None when there is to be none.

        A pause that would last until the deadline is not begun: what is known now is told now.

        Args:
            retry_after: what the service said in the header of this name, if it did.
        """
        self._num += 1
        if self._num >= self._patience.max_tries:
            return None
        asked_s = seconds_after(retry_after)
        if asked_s is None:
            backoff_s = self._patience.first_pause_s * 2 ** (self._num - 1)
            asked_s = backoff_s * (1 + self._rng.random())
        return asked_s if asked_s < self.left_s() else None


def seconds_after(retry_after: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None when it says nothing.

    Example:
        >>> seconds_after("2"), seconds_after("soon"), seconds_after(None)
        (2.0, None, None)
        >>> seconds_after("Thu, 01 Jan 2026 00:00:05 GMT", now=datetime(2026, 1, 1, tzinfo=UTC))
        5.0
    """
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())
