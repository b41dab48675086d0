"""When the page of an impression began, and which impressions come too late for theirs."""

from datetime import timedelta

import numpy as np
import polars as pl

from catalog.lake.tables import LANDED_AT
from features.answered_pages import ID

PAGE_LASTS = timedelta(hours=1)
"""A page's impressions end so long after its first. One id that goes on is a session's, and what
is shown later is its next page: dated to the first, it would be ranked by a history of days ago."""


def in_time(shown: pl.DataFrame, settling: pl.DataFrame) -> pl.DataFrame:
    """Return the impressions that their pages have, with `page_ts`: when the page began.

    Left out is what lands when its day has settled, or the day before, on which its page began, or
    a day after, on which its request showed something: pages there might begin otherwise with it.

    Args:
        shown: impressions that have a request; request_id, user_id, ts, landed_at.
        settling: day, settles_at: of all days that have pages.
    """
    dated = shown.with_columns(_settles_at(shown["ts"], settling))
    dated = dated.filter(~_is_after(LANDED_AT, "settles_at"))
    later = pl.col("settles_at").cum_min(reverse=True).over(ID, order_by="ts")
    dated = dated.filter(~_is_after(LANDED_AT, later)).drop("settles_at")
    paged = dated.with_columns(page_ts=page_starts(dated))
    return paged.filter(~landed_late(paged, paged["page_ts"], settling))


def landed_late(rows: pl.DataFrame, page_ts: pl.Series, settling: pl.DataFrame) -> pl.Series:
    """Return whether each row landed after the day of its page had settled; False without one."""
    found = rows.select(LANDED_AT).with_columns(_settles_at(page_ts, settling))
    return found.select(_is_after(LANDED_AT, "settles_at")).to_series()


def _settles_at(moments: pl.Series, settling: pl.DataFrame) -> pl.Series:
    days = pl.DataFrame({"day": moments.dt.date()})
    return days.join(settling, on="day", how="left", maintain_order="left")["settles_at"]


def _is_after(landed_at: str, settles_at: str | pl.Expr) -> pl.Expr:
    at = pl.col(settles_at) if isinstance(settles_at, str) else settles_at
    return (pl.col(landed_at) > at).fill_null(False)


def page_starts(shown: pl.DataFrame) -> pl.Series:
    """Return the time of each impression's page: that of the first within `PAGE_LASTS` before it.

    Only ids that go on longer are walked through, from each page's first impression to the next.
    """
    first, last = pl.col("ts").min().over(ID), pl.col("ts").max().over(ID)
    rows = shown.select(*ID, "ts", page_ts=first, lasts=last - first > PAGE_LASTS)
    if not rows["lasts"].any():
        return rows["page_ts"]
    times = rows.filter(pl.col("lasts")).select(*ID, "ts").unique().sort(*ID, "ts")
    starts = times.with_columns(page_ts=times["ts"].gather(_start_rows(times)))
    found = rows.join(starts, on=[*ID, "ts"], how="left", maintain_order="left")
    return found.select(pl.coalesce("page_ts_right", "page_ts"))["page_ts_right"]


def _start_rows(times: pl.DataFrame) -> np.ndarray:
    """Return [N] the row at which each row's page starts, of rows sorted by request and time."""
    request = times.select(pl.struct(ID).rle_id()).to_series().to_numpy()
    ts = times["ts"].to_physical().to_numpy()
    lasts = PAGE_LASTS // timedelta(microseconds=1)
    start = np.empty(len(times), dtype=np.int64)
    current = 0
    for row in range(len(times)):
        if request[row] != request[current] or ts[row] - ts[current] > lasts:
            current = row
        start[row] = current
    return start
