"""Tests for catalog/lake/event_corrections.py: what goes, what is kept, what stays out."""

from datetime import UTC, datetime, timedelta
from time import sleep

import polars as pl
import pytest

from catalog.lake.event_corrections import EventFilter, Note, correct_events, drop_events
from catalog.lake.tables import EVENT_CORRECTIONS, EVENTS

T1 = datetime(2026, 1, 1, tzinfo=UTC)
NOTE = Note(by="ana", at=datetime(2026, 2, 1, tzinfo=UTC), reason="a bot")
HOUR = timedelta(hours=1)


def event(event_id, user="u", *, ts=T1, action="click", position=None, request="r", item="a"):
    return (event_id, request, user, item, action, None, position, ts)


def frame(*events):
    return pl.DataFrame(events, schema=EVENTS.schema, orient="row")


@pytest.fixture
def filled(lake):
    lake.upsert_events(frame(event("1"), event("2", "bot"), event("3", "bot", ts=T1 + HOUR)))
    return lake


def ids(lake):
    return sorted(lake.read(EVENTS)["event_id"])


def test_dropped_events_are_gone_and_kept_with_who_when_and_why(filled):
    changes = drop_events(filled, EventFilter(user_id="bot"), NOTE)
    assert (changes.matched, changes.changed, changes.total) == (2, 2, 3)
    assert (changes.first, changes.done) == (("2", "3"), True)
    assert ids(filled) == ["1"]
    kept = filled.read(EVENT_CORRECTIONS).sort("event_id")
    assert kept.rows() == [
        (*event("2", "bot"), NOTE.at, "ana", "a bot", None),
        (*event("3", "bot", ts=T1 + HOUR), NOTE.at, "ana", "a bot", None),
    ]


def test_the_past_still_holds_what_was_dropped(filled):
    before = datetime.now(UTC)
    sleep(0.02)  # commits are dated by their files, whose clock lags some milliseconds
    drop_events(filled, EventFilter(user_id="bot"), NOTE)
    assert filled.read(EVENTS, as_of=before).height == 3


def test_a_dropped_event_stays_out_when_it_comes_again_but_news_of_it_lands(filled):
    drop_events(filled, EventFilter(event_ids=("2",)), NOTE)
    filled.upsert_events(frame(event("1"), event("2", "bot")))
    assert ids(filled) == ["1", "3"]
    filled.upsert_events(frame(event("2", "a person")))
    assert ids(filled) == ["1", "2", "3"]


def test_a_corrected_event_stays_corrected_when_it_comes_again(filled):
    meant = EventFilter(event_ids=("3",))
    values = {"action": "skip", "request_id": None, "position": 4.0}
    changes = correct_events(filled, meant, values, NOTE, shift=-2 * HOUR)
    assert (changes.matched, changes.changed) == (1, 1)
    as_sent = event("3", "bot", ts=T1 + HOUR)  # newer than what it was corrected to
    as_corrected = event("3", "bot", ts=T1 - HOUR, action="skip", request=None, position=4)
    filled.upsert_events(frame(as_sent))
    assert filled.read(EVENTS).filter(event_id="3").rows() == [as_corrected]
    [kept] = filled.read(EVENT_CORRECTIONS).to_dicts()
    assert (kept["action"], kept["ts"], kept["corrected_by"]) == ("click", T1 + HOUR, "ana")
    assert '"action":"skip"' in kept["became"]


def test_a_correction_made_twice_changes_nothing_the_second_time(filled):
    for changed in (3, 0):
        changes = correct_events(filled, EventFilter(since=T1), {"item_id": "b"}, NOTE)
        assert (changes.matched, changes.changed) == (3, changed)
    assert filled.read(EVENT_CORRECTIONS).height == 3


def test_a_correction_that_makes_no_event_changes_none(filled):
    before = filled.versions()
    for values, words in (
        ({"action": "fly"}, "Invalid enum value"),
        ({"position": 3.5}, "must be a whole number"),
        ({"ts": "yesterday"}, "Invalid RFC3339"),
        ({"user_id": None}, "Expected `str`"),
        ({"event_id": "9"}, "a field must be one of"),
    ):
        with pytest.raises(ValueError, match=words):
            correct_events(filled, EventFilter(action="click"), values, NOTE)
    assert filled.versions() == before


def test_a_try_changes_nothing_and_too_large_a_share_is_refused(filled):
    before = filled.versions()
    meant = EventFilter(user_id="bot")
    tried = drop_events(filled, meant, NOTE, max_share=0.5, dry_run=True)
    assert (tried.changed, tried.done) == (2, False)
    with pytest.raises(ValueError, match="2 of the lake's 3 events would change"):
        drop_events(filled, meant, NOTE, max_share=0.5)
    with pytest.raises(ValueError, match="2 of the lake's 3 events would change"):
        correct_events(filled, meant, {"action": "skip"}, NOTE, max_share=0.5)
    assert filled.versions() == before


def test_nothing_meant_changes_nothing(filled, lake):
    before = filled.versions()
    assert drop_events(filled, EventFilter(user_id="nobody"), NOTE).changed == 0
    assert filled.versions() == before


def test_everything_is_never_meant_by_saying_nothing():
    with pytest.raises(ValueError, match="name the events"):
        EventFilter()
    with pytest.raises(ValueError, match="time zone"):
        EventFilter(since=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="who makes it, and why"):
        Note(by="ana", at=T1, reason=" ")


@pytest.mark.parametrize(
    ("meant", "found"),
    [
        (EventFilter(event_ids=("1", "3")), ["1", "3"]),
        (EventFilter(user_id="bot", until=T1 + HOUR), ["2"]),
        (EventFilter(since=T1 + HOUR), ["3"]),
        (EventFilter(item_id="a", request_id="r", action="click"), ["1", "2", "3"]),
    ],
)
def test_all_that_is_set_must_agree(filled, meant, found):
    assert sorted(meant.matching(filled.scan(EVENTS)).collect()["event_id"]) == found
