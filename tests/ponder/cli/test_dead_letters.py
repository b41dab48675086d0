"""Tests for ponder/cli/dead_letters.py: letters are listed, shown, replayed and dropped."""

import base64
import json

import polars as pl

from catalog.lake.tables import DEAD_LETTERS, ITEMS
from ponder.cli.terminal import printable

HOSTILE = b'{"title": "\x1b[2J\xff\xe2\x80\xae'


def offsets(lake):
    return sorted(lake.read(DEAD_LETTERS)["offset"])


def test_the_newest_letters_are_listed_first(ponder, lake):
    lines = ponder("dead-letters", "list").stdout.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["items", "1", "8", "decode"],
        ["items", "0", "7", "validate"],
    ]
    cut = ponder("dead-letters", "list", "--limit", "1")
    assert len(cut.stdout.splitlines()) == 1
    assert cut.stderr == "1 older ones are not shown; --limit shows more\n"
    since = ponder("dead-letters", "list", "--since", "2026-01-05T00:00:00Z", "--json")
    assert [letter["offset"] for letter in json.loads(since.stdout)["dead_letters"]] == [8]
    staged = ponder("dead-letters", "list", "--stage", "validate", "--topic", "items", "--json")
    assert [letter["offset"] for letter in json.loads(staged.stdout)["dead_letters"]] == [7]


def test_a_letter_is_shown_without_obeying_it(ponder, lake):
    shown = ponder("dead-letters", "show", "items", "1", "8").stdout
    assert "\\x1b[2J\\xff\\u202e" in shown
    assert "\x1b" not in shown + ponder("dead-letters", "list").stdout
    whole = json.loads(ponder("dead-letters", "show", "items", "1", "8", "--json").stdout)
    assert base64.b64decode(whole["value_base64"]) == HOSTILE
    assert (whole["value_bytes"], whole["key"], whole["stage"]) == (len(HOSTILE), None, "decode")


def test_a_long_value_is_cut_short_and_says_so():
    assert printable("x" * 30, max_chars=10) == "x" * 10 + "... (30 characters)"
    assert printable("é\n", max_chars=2) == "é\\n"


def test_replay_tells_what_landed_and_why_the_rest_did_not(ponder, lake):
    counts = json.loads(ponder("dead-letters", "replay", "--json").stdout)
    assert (counts["landed"], counts["rejected"]) == (1, 1)
    assert list(counts["reasons"].values()) == [1]
    assert offsets(lake) == [8]
    assert lake.read(ITEMS)["item_id"].to_list() == ["a"]


def test_letters_of_a_renamed_topic_are_known_as_items(ponder, lake, monkeypatch):
    letters = lake.read(DEAD_LETTERS)
    lake.put_dead_letters(letters.filter(offset=7).with_columns(topic=pl.lit("shop.items")))
    monkeypatch.setenv("PONDER_KAFKA_ITEM_TOPIC", "shop.items")
    replayed = ponder("dead-letters", "replay", "--topic", "shop.items", "--json")
    assert json.loads(replayed.stdout)["landed"] == 1
    assert lake.read(ITEMS)["item_id"].to_list() == ["a"]


def test_drop_asks_first_and_takes_only_what_is_meant(ponder, lake):
    refused = ponder("dead-letters", "drop", input="n\n")
    assert refused.exit_code == 1
    assert "Throw 2 dead letters away?" in refused.output
    assert offsets(lake) == [7, 8]
    dropped = ponder("dead-letters", "drop", "--partition", "1", "--yes", "--json")
    assert json.loads(dropped.stdout) == {"dropped": 1}
    assert offsets(lake) == [7]
    assert ponder("dead-letters", "drop", "--stage", "embed").exit_code == 0  # nothing to ask about
