"""Tests for ponder/cli/events.py: events are dropped, corrected, and what was done is listed."""

import json

import pytest

from catalog.lake.tables import EVENTS

WHY = ("--reason", "a bot", "--by", "ana")


@pytest.fixture
def landed(ponder, lake, tmp_path):
    """Twenty events, of which a bot made two."""
    rows = [
        {
            "event_id": f"e{n:02d}",
            "user_id": "bot" if n < 2 else f"u{n}",
            "item_id": "a",
            "action": "click",
            "ts": f"2026-01-01T00:00:{n:02d}Z",
        }
        for n in range(20)
    ]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert ponder("land", "--data", str(folder)).exit_code == 0
    return folder


def test_events_are_dropped_listed_and_stay_out(ponder, lake, landed):
    tried = json.loads(
        ponder("events", "drop", "--user", "bot", *WHY, "--dry-run", "--json").stdout
    )
    assert (tried["changed"], tried["done"], lake.read(EVENTS).height) == (2, False, 20)
    done = json.loads(ponder("events", "drop", "--user", "bot", *WHY, "--json").stdout)
    assert (done["changed"], done["first"], done["done"]) == (2, ["e00", "e01"], True)
    again = json.loads(ponder("land", "--data", str(landed), "--json").stdout)
    assert (again["events"], again["known_events"]) == (0, 20)
    assert lake.read(EVENTS).height == 18
    lines = ponder("events", "log").stdout.splitlines()
    assert len(lines) == 2
    assert "ana e00: a bot; dropped" in lines[0]


def test_events_are_corrected_field_by_field_and_in_time(ponder, lake, landed):
    setting = ("--set", "action=skip", "--set", "position=3", "--shift", "-3600")
    done = ponder("events", "correct", "--id", "e05", *setting, *WHY, "--json")
    assert json.loads(done.stdout)["changed"] == 1
    [row] = lake.read(EVENTS).filter(event_id="e05").to_dicts()
    assert (row["action"], row["position"]) == ("skip", 3)
    assert row["ts"].isoformat() == "2025-12-31T23:00:05+00:00"
    [kept] = json.loads(ponder("events", "log", "--json").stdout)["corrections"]
    assert (kept["action"], kept["reason"]) == ("click", "a bot")


def test_more_than_a_tenth_needs_force(ponder, lake, landed):
    refused = ponder("events", "drop", "--item", "a", *WHY)
    assert refused.exit_code == 1
    assert "20 of the lake's 20 events would change" in refused.stderr
    assert ponder("events", "drop", "--item", "a", *WHY, "--force").exit_code == 0
    assert lake.read(EVENTS).is_empty()


def test_what_is_meant_must_be_named(ponder, lake, landed):
    assert ponder("events", "drop", *WHY).exit_code == 1
    assert ponder("events", "drop", "--user", "bot").exit_code == 2  # no reason
    assert ponder("events", "correct", "--user", "bot", "--set", "action", *WHY).exit_code == 1
