"""How values are written on the report's page; what is not known is a dash, never a number."""

import math
from collections.abc import Mapping
from datetime import datetime

UNKNOWN = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"  # as wide as a plus, so that columns line up


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with so many decimals; a dash for None, NaN and infinities.

    Example:
        >>> number(0.25)
        '0.250'
        >>> number(float("nan")) == UNKNOWN
        True
    """
    return _written(value, f".{digits}f")


def signed(value: float | None, digits: int = 3) -> str:
    """Write a difference: like `number`, with its sign.

    Example:
        >>> signed(0.05)
        '+0.050'
    """
    return _written(value, f"+.{digits}f")


def count(value: float | None) -> str:
    """Write a whole number in groups of three digits.

    Example:
        >>> count(1234567)
        '1,234,567'
    """
    return _written(value, ",.0f")


def percent(value: float | None) -> str:
    """Write a share in [0, 1] as a percentage, with one decimal and a space that does not break."""
    share = _written(value, ".1%")
    return share.replace("%", "\N{NO-BREAK SPACE}%")


def spread(interval: Mapping[str, float | None], digits: int = 3) -> str:
    """Write the two ends of an interval with `low` and `high`; a dash when either is not known."""
    ends = number(interval["low"], digits), number(interval["high"], digits)
    return UNKNOWN if UNKNOWN in ends else " … ".join(ends)


def moment(value: datetime | None) -> str:
    """Write a moment to the minute, with the name of the time zone it carries; a dash for None."""
    return UNKNOWN if value is None else f"{value:%Y-%m-%d %H:%M %Z}"


def _written(value: float | None, how: str) -> str:
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return format(value, how).replace("-", MINUS)


FILTERS = {f.__name__: f for f in (number, signed, count, percent, spread, moment)}
