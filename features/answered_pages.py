"""Which page an event is of: what its request had shown, whatever the clocks say.

A page that lands long after an event of its request does not take the event along: it would change
when the event happened for requests that had it in their history.
"""

import polars as pl

from catalog.lake.tables import LANDED_AT
from features.landings import DAY_SETTLES

ID = ("request_id", "user_id")
"""Of whom and of what a page is."""

_IS_LATE = pl.col("known") > pl.col(LANDED_AT) + DAY_SETTLES
"""Whether a page landed too late for an event, whose landing is known."""


def answered_pages(events: pl.DataFrame, impressions: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Return for each event the time of the page that showed its item, and of the one it is of.

    The second falls back on the pages of its request that showed other items. Null: there is none;
    and of an impression, which answers nothing and is never before its page. Most of a log are
    impressions, so they are not looked up.
    """
    answers_E = events["action"] != "impression"
    answers = events.filter(answers_E)
    showing = _newest_page(answers, impressions, by=[*ID, "item_id"])
    any_page = _newest_page(answers, impressions, by=list(ID))
    page = showing.zip_with(showing.is_not_null(), any_page)
    row_E = (answers_E.cum_sum().cast(pl.Int64) - 1).zip_with(
        answers_E, pl.Series([None], dtype=pl.Int64)
    )
    return showing.gather(row_E), page.gather(row_E)


def _newest_page(events: pl.DataFrame, impressions: pl.DataFrame, *, by: list[str]) -> pl.Series:
    """Return the time of the newest page, by its keys, not after each event; else the first.

    Of those that were known in time, where others are among them.
    """
    pages = impressions.group_by(*by, "ts").agg(known=pl.col(LANDED_AT).min()).sort("ts")
    asked = events.select(*by, "ts", LANDED_AT).with_row_index("row")
    found = _newest_of_all(asked, pages.with_columns(page_ts="ts"), by)
    late = found.filter(_IS_LATE).select("row")
    if late.is_empty():
        return found["page_ts"]
    offered = asked.join(late, on="row").join(pages.rename({"ts": "page_ts"}), on=by)
    is_before = pl.col("page_ts") <= pl.col("ts")
    mended = (
        offered.filter(~_IS_LATE)
        .group_by("row")
        .agg(
            page_ts=pl.coalesce(pl.col("page_ts").filter(is_before).max(), pl.col("page_ts").min())
        )
    )
    kept = found.select("row", "page_ts").join(late, on="row", how="anti")
    return asked.select("row").join(
        pl.concat([kept, mended]), on="row", how="left", maintain_order="left"
    )["page_ts"]


def _newest_of_all(asked: pl.DataFrame, pages: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Return row, landed_at, page_ts and known of the newest page not after each; else the first.

    Args:
        asked: row, `by`, ts and landed_at of events.
        pages: `by`, ts and page_ts, rising, and known: when the page landed.
        by: the keys.
    """
    first = pages.group_by(by, maintain_order=True).first()
    found = (
        asked.sort("ts")
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
        "row",
        LANDED_AT,
        pl.coalesce("page_ts", "page_ts_first"),
        known=pl.when(has_one).then("known").otherwise("known_first"),
    )
