"""Few shapes for many lengths: sizes are rounded up, and what is made for one is used again.

A GPU launches a recorded step of a shape at once, and has to be told every kernel of a new one.
"""

COLUMN_STEP = 32
FINEST = 4
"""A bucket is at most a quarter wider than what must go into it, but for the smallest ones."""


def slot_bucket(slots: int, *, most: int) -> int:
    """Return the number of slots that a step of so many busy ones works on: a power of two.

    >>> [slot_bucket(slots, most=100) for slots in (1, 3, 64, 65)]
    [1, 4, 64, 100]
    """
    return min(most, 1 << (slots - 1).bit_length())


def column_bucket(columns: int, *, most: int) -> int:
    """Return the number of columns that a step reads where the longest slot has so many.

    >>> [column_bucket(columns, most=1_000) for columns in (1, 33, 200, 257, 900)]
    [32, 64, 224, 320, 1000]
    """
    step = max(COLUMN_STEP, (1 << (columns - 1).bit_length()) // 2 // FINEST)
    return min(most, -(-columns // step) * step)
