"""How long a text or an image may be read for, of a deadline within which it is searched too."""

import numpy as np

MIN_SEARCH_SHARE, MAX_SEARCH_SHARE = 0.1, 0.5
"""Of a deadline, kept for what follows the reading: twice what that takes now, within these."""

SMOOTHING = 0.2


class ReadingTime:
    """Tells it by how long searches took of late; several threads may."""

    def __init__(self) -> None:
        """Know of no search yet."""
        self._search_s = 0.0  # from an encoding to its candidates, the wait for a thread included

    def searched(self, took_s: float) -> None:
        """Take in how long it was from an encoding to its candidates, in seconds."""
        self._search_s += SMOOTHING * (took_s - self._search_s)

    def within(self, deadline_s: float) -> float:
        """Return the seconds of a deadline that a text or an image may be read for."""
        kept_s = np.clip(
            2 * self._search_s, MIN_SEARCH_SHARE * deadline_s, MAX_SEARCH_SHARE * deadline_s
        )
        return deadline_s - float(kept_s)
