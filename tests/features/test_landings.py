"""Tests for features/landings.py: what was known when."""

from datetime import UTC, datetime, timedelta

import polars as pl

from catalog.lake.item_versions import DESCRIBED
from catalog.lake.tables import EVENTS, ITEM_VERSIONS, ITEMS, LANDED_AT, TIME
from features.landings import BEGINNING, Landings, item_histories
from features.pages import pages_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(hours):
    return NOON + timedelta(hours=hours)


def log(*rows):
    """(user, item, action, happened, landed) in hours from noon; None: landed in an old release."""
    return pl.DataFrame(
        [
            {
                "event_id": str(n),
                "request_id": f"r{happened}" if action == "impression" else None,
                "user_id": user,
                "item_id": item,
                "action": action,
                "ts": at(happened),
                LANDED_AT: None if landed is None else at(landed),
            }
            for n, (user, item, action, happened, landed) in enumerate(rows)
        ],
        schema=EVENTS.stored_schema,
    )


def times(events):
    return dict(pages_of(events).events.select("item_id", "ts").rows())


def test_late_event_counts_from_the_newest_request_that_landed_before_it():
    events = log(
        ("u", "a", "impression", 0, 0.1),
        ("u", "b", "impression", 5, 5.1),
        ("u", "late", "like", 1, 6),
        ("u", "c", "impression", 7, 7.1),
    )
    # The requests at 0 and 5 were there: neither saw it, and the one at 7 does.
    assert times(events)["late"] == at(5)
    assert pages_of(events).counts.late_events == 1


def test_events_of_one_landing_are_not_late_whatever_their_order():
    events = log(("u", "a", "impression", 5, 9), ("u", "b", "like", 1, 9), ("u", "c", "like", 7, 9))
    assert (times(events)["b"], times(events)["c"]) == (at(1), at(7))
    assert "late_events" not in pages_of(events).counts.oddities()


def test_a_clock_ahead_makes_nothing_later_than_its_landing():
    events = log(("u", "a", "impression", 9_000, 1), ("u", "b", "like", 2, 2.1))
    assert times(events)["b"] == at(2)


def test_events_without_a_landing_were_always_known():
    events = log(("u", "a", "impression", 5, None), ("u", "b", "like", 1, None))
    assert times(events)["b"] == at(1)


def test_pages_and_answers_stay_as_they_are_once_their_day_has_settled():
    before = log(("u", "a", "impression", 0, 1), ("u", "b", "impression", 0, 1))
    # The day ends after 12 hours and settles a day later, so 36 hours after noon.
    answer = log(("u", "a", "like", 0.5, 35.9)).with_columns(request_id=pl.lit("r0"))
    late = log(("u", "b", "like", 0.5, 36.1)).with_columns(request_id=pl.lit("r0"))
    shown_late = log(("u", "c", "impression", 0, 36.1))
    pages = pages_of(pl.concat([before, answer, late, shown_late]))
    assert pages.impressions.select("item_id", "relevance").rows() == [("a", 2), ("b", 0)]
    assert (pages.counts.late_answers, pages.counts.late_impressions) == (1, 1)
    assert pages.settling.row(0) == (NOON.date(), at(36))


def test_a_page_that_lands_after_an_event_takes_it_along_unless_what_it_changes_has_settled():
    def told(late):
        rows = [("u", "a", "impression", 0, 0.1), ("u", "a", "like", 34, 34.1)]
        rows += [("u", "b", "like", -2, 0), ("u", "a", "impression", 30, late)]
        pages = pages_of(log(*rows).with_columns(request_id=pl.lit("session")))
        likes = pages.events.filter(action="like").sort("item_id")["ts"].to_list()
        return pages.impressions["relevance"].to_list(), likes

    assert told(34.2) == ([0, 2], [at(34), at(0)])  # the newest page before it
    assert told(35.9) == ([0, 2], [at(34), at(0)])
    assert told(36.1) == ([2, 0], [at(34), at(0)])  # the first page's day has settled


def test_a_page_that_lands_after_an_event_does_not_date_what_settled_requests_knew():
    other = ("v", "c", "impression", 0, 0.1)
    like, page = ("u", "b", "like", -2, 0), ("u", "a", "impression", 20, 36.1)

    def told(*rows):
        pages = pages_of(log(*rows).with_columns(request_id=pl.lit("session")))
        return pages.events.filter(action="like")["ts"].item()

    assert told(like, page) == at(20)  # no other request knew of it
    assert told(other, like, page) == at(-2)


def test_what_is_shown_after_midnight_is_too_late_once_its_page_has_settled():
    def items(*rows):
        pages = pages_of(log(*rows).with_columns(request_id=pl.lit("session")))
        return pages.impressions["item_id"].to_list()

    page, after_midnight = ("u", "a", "impression", 11.5, 12), ("u", "b", "impression", 12.2, 36.1)
    assert items(page, (*after_midnight[:-1], 35.9)) == ["a", "b"]
    assert items(page, after_midnight) == ["a"]


def versions(*rows):
    """(item, content, category, price, updated, landed) in hours from noon."""
    return pl.DataFrame(
        [
            (item, at(updated), content, category, price, NOON, at(landed))
            for item, content, category, price, updated, landed in rows
        ],
        schema=ITEM_VERSIONS.schema,
        orient="row",
    )


def tombstone(item, updated):
    row = {"item_id": item, "updated_at": at(updated), "deleted": True, "created_at": at(updated)}
    return pl.DataFrame([row], schema=ITEMS.schema).select(DESCRIBED)


NO_REQUESTS = Landings.of(log())
NO_ITEMS = ITEMS.empty().select(DESCRIBED)


def states(rows, items=NO_ITEMS, landings=NO_REQUESTS):
    found = item_histories(rows, items, landings)
    return found.select("content_hash", "category", "price", "since").rows()


def test_an_item_is_what_its_newest_record_said_until_then():
    rows = versions(("i", "1", "x", 5.0, 0, 0), ("i", "2", "y", 6.0, 3, 3))
    assert states(rows) == [("1", "x", 5.0, BEGINNING), ("2", "y", 6.0, at(3))]


def test_an_edit_that_lands_late_counts_from_the_newest_request_before_it():
    landings = Landings.of(log(("u", "i", "impression", 7, 7.5)))
    rows = versions(("i", "1", "x", 5.0, 0, 0), ("i", "2", "y", 6.0, 3, 8))
    assert states(rows, landings=landings)[1] == ("2", "y", 6.0, at(7))


def test_a_record_that_comes_after_a_newer_one_changes_nothing():
    landings = Landings.of(log(("u", "i", "impression", 7, 7.5)))
    rows = versions(("i", "2", "y", 6.0, 3, 3), ("i", "1", "x", 5.0, 1, 8))
    assert states(rows, landings=landings) == [("2", "y", 6.0, BEGINNING)]


def test_a_tombstone_leaves_what_the_item_was():
    rows = versions(("i", "1", "x", 5.0, 0, 0))
    assert states(rows, tombstone("i", 9)) == [("1", "x", 5.0, BEGINNING)]


def test_items_that_landed_before_versions_were_kept_are_as_they_are():
    row = {"item_id": "i", "updated_at": at(0), "created_at": NOON, "deleted": False}
    row |= {"content_hash": "1", "category": "x", "attributes": '{"price": 7}'}
    items = pl.DataFrame([row], schema=ITEMS.schema).select(DESCRIBED)
    assert states(versions(), items) == [("1", "x", 7.0, BEGINNING)]
    assert item_histories(versions(), items, NO_REQUESTS).schema["since"] == TIME
