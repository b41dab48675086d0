"""Train before a moment, test after it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeSplit:
    """Where the past ends and the future begins."""

    at: datetime
    """Requests from this moment on are for the test; with a time zone."""

    gap: timedelta = timedelta(0)
    """Requests this long before `at` are used for neither, so that late outcomes of the training
    requests do not reach into the test."""

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError(f"at must carry a time zone, got {self.at.isoformat()}")
        if self.gap < timedelta(0):
            raise ValueError(f"gap must be >= 0, got {self.gap}")


def split_by_time(frame: pl.DataFrame, split: TimeSplit) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows with `ts`, their request's, before `at - gap` from those from `at` on; order kept.

    Raises:
        ValueError: a side is empty.
    """
    train = frame.filter(pl.col("ts") < split.at - split.gap)
    test = frame.filter(pl.col("ts") >= split.at)
    for name, side in (("train", train), ("test", test)):
        if side.is_empty():
            raise ValueError(
                f"both sides of a split must have rows, got none to {name}; rows run from "
                f"{frame['ts'].min()!s} to {frame['ts'].max()!s}, at={split.at}, gap={split.gap}"
            )
    return train, test
