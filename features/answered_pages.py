"""Which page an event is of: what its request had shown, whatever the clocks say.

A page may land after an event of its request. It takes the event along, unless that would change
what requests of days that had settled by then knew of it, or what was liked on their pages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import NamedTuple

import numpy as np
import polars as pl

from catalog.lake.tables import LANDED_AT

ID = ("request_id", "user_id")
"""Of whom and of what a page is."""


def answered_pages(
    events: pl.DataFrame, impressions: pl.DataFrame, counts_from: pl.Series, settling: pl.DataFrame
) -> tuple[pl.Series, pl.Series]:
    """Return for each event the time of the page that showed its item, and of the one it is of.

    That is the newest not after it, else the first. The second falls back on the pages of its
    request that showed other items. Null: there is none; and of an impression, which answers
    nothing and is never before its page. Most of a log are impressions, so they are not looked up.

    Args:
        events: request_id, user_id, item_id, action, ts, landed_at.
        impressions: request_id, user_id, item_id, and ts of the page; landed_at, never null.
        counts_from: when each event counts from, by its time and its landing.
        settling: day, settles_at: of the days that have pages.
    """
    answers_E = events["action"] != "impression"
    asked = events.with_columns(counts_from=counts_from).filter(answers_E).with_row_index("row")
    showing = _newest_page(asked, impressions, by=[*ID, "item_id"])
    any_page = _newest_page(asked, impressions, by=list(ID))
    found = pl.select(
        row=asked["row"],
        showing=showing["page_ts"],
        page=pl.coalesce(showing["page_ts"], any_page["page_ts"]),
        known=pl.coalesce(showing["known"], any_page["known"]),
    )
    came_later = found.filter(found["known"] > asked[LANDED_AT])
    if len(came_later):
        open_ones = asked.join(came_later.select("row"), on="row", how="semi")
        settled = _step_by_step(open_ones, impressions, Settling.of(settling))
        kept = found.drop("known").join(settled, on="row", how="anti")
        found = pl.concat([kept, settled]).sort("row")
    row_E = (answers_E.cum_sum().cast(pl.Int64) - 1).zip_with(
        answers_E, pl.Series([None], dtype=pl.Int64)
    )
    return found["showing"].gather(row_E), found["page"].gather(row_E)


def _newest_page(asked: pl.DataFrame, impressions: pl.DataFrame, *, by: list[str]) -> pl.DataFrame:
    """Return page_ts and known, when it landed, of the newest page not after each; else the first.

    Args:
        asked: `by` and ts, of events.
        impressions: as of `answered_pages`.
        by: the keys of what counts as a page.
    """
    pages = impressions.group_by(*by, "ts").agg(known=pl.col(LANDED_AT).min()).sort("ts")
    pages = pages.with_columns(page_ts="ts")
    first = pages.group_by(by, maintain_order=True).first()
    found = (
        asked.select(*by, "ts", "row")
        .sort("ts")
        .join_asof(
            pages,
            on="ts",
            by=by,
            strategy="backward",
            check_sortedness=False,  # cannot be checked per key; both sides are sorted above
        )
        .join(first.drop("ts"), on=by, how="left", suffix="_first")
        .sort("row")
    )
    has_one = pl.col("page_ts").is_not_null()
    return found.select(
        pl.coalesce("page_ts", "page_ts_first"),
        known=pl.when(has_one).then("known").otherwise("known_first"),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Settling:
    """When the days that have pages are what they stay."""

    days: np.ndarray
    """datetime64[D], rising."""

    settles_at: list[datetime]

    first_settles_at: list[datetime]
    """The least of each and those after it."""

    @classmethod
    def of(cls, settling: pl.DataFrame) -> "Settling":
        """Take day and settles_at of each day that has pages."""
        ordered = settling.drop_nulls().sort("day")
        at = ordered["settles_at"]
        return cls(ordered["day"].to_numpy(), at.to_list(), at.cum_min(reverse=True).to_list())

    def is_open(self, day: date, moment: datetime) -> bool:
        """Return whether a day had not settled before a moment."""
        at = int(np.searchsorted(self.days, np.datetime64(day)))
        return at == len(self.days) or self.days[at] != day or moment <= self.settles_at[at]

    def are_open_from(self, day: date, moment: datetime) -> bool:
        """Return whether neither a day nor one after it had settled before a moment."""
        begin = int(np.searchsorted(self.days, np.datetime64(day)))
        return begin == len(self.days) or moment <= self.first_settles_at[begin]


class _Shown(NamedTuple):
    """An item of a page, and when it landed."""

    known: datetime
    ts: datetime
    item_id: str


class _Found(NamedTuple):
    """What is known of an event."""

    showing: datetime | None
    page: datetime | None


def _step_by_step(
    asked: pl.DataFrame, impressions: pl.DataFrame, settling: Settling
) -> pl.DataFrame:
    """Return row, showing and page of events that landed before a page they are of.

    Landing by landing: one that would change what had settled is none of the event's.
    """
    shown = impressions.join(asked.select(ID).unique(), on=ID, how="semi")
    of_request: dict[tuple[str, str], list[_Shown]] = {}
    for request_id, user_id, *rest in shown.select(*ID, LANDED_AT, "ts", "item_id").iter_rows():
        of_request.setdefault((request_id, user_id), []).append(_Shown(*rest))
    for each in of_request.values():
        each.sort()
    found = []
    columns = ("row", *ID, "item_id", "ts", LANDED_AT, "counts_from")
    for row, request_id, user_id, item_id, ts, landed_at, counts_from in asked.select(
        columns
    ).iter_rows():
        known = _Found(None, None)
        taken: list[_Shown] = []
        for moment, some in _landings(of_request[request_id, user_id], landed_at):
            more = [*taken, *some]
            then = _answered(more, item_id, ts)
            if moment <= landed_at or _may_change(known, then, counts_from, moment, settling):
                known, taken = then, more
        found.append((row, *known))
    schema = {"row": asked.schema["row"], "showing": asked.schema["ts"], "page": asked.schema["ts"]}
    return pl.DataFrame(found, schema=schema, orient="row")


def _landings(shown: list[_Shown], landed_at: datetime) -> Iterator[tuple[datetime, list[_Shown]]]:
    """Yield what was there when an event landed as one, then each landing."""
    for moment, some in groupby(shown, key=lambda each: max(each.known, landed_at)):
        yield moment, list(some)


def _answered(shown: list[_Shown], item_id: str, ts: datetime) -> _Found:
    own = [each.ts for each in shown if each.item_id == item_id]
    showing = _newest(own, ts)
    return _Found(showing, showing or _newest([each.ts for each in shown], ts))


def _newest(pages: list[datetime], ts: datetime) -> datetime | None:
    past = [each for each in pages if each <= ts]
    return max(past) if past else min(pages, default=None)


def _may_change(
    known: _Found, then: _Found, counts_from: datetime, moment: datetime, settling: Settling
) -> bool:
    """Return whether nothing had settled of what a landing changes: an answer, and when it was."""
    answered = known.showing
    if answered not in (None, then.showing) and not settling.is_open(answered.date(), moment):
        return False
    dates = [max(page or counts_from, counts_from) for page in (known.page, then.page)]
    return dates[0] == dates[1] or settling.are_open_from(min(dates).date(), moment)
