"""What is wrong with a deployment, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that was found wrong."""

    check: str
    """Who found it: a name of `ponder.doctor.examination.CHECKS`."""

    what: str
    """What must hold, and what was seen; holds no secret."""

    remedy: str
    """What a person can do."""

    is_fault: bool = True
    """False for what is worth knowing while everything works."""


def said(error: BaseException) -> str:
    """Return the first line of an error, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
