"""Tests for the commands of upkeep: dead letters, the lake's tables, the audit."""

import base64
import json
from datetime import UTC, datetime

import polars as pl
import pytest
from typer.testing import CliRunner

from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, ITEMS, MEDIA
from ponder.cli.app import app
from ponder.cli.terminal import printable

runner = CliRunner()
FAILED = datetime(2026, 1, 2, tzinfo=UTC)
GOOD = b'{"item_id": "a", "updated_at": "2026-01-01T00:00:00Z"}'
HOSTILE = b'{"title": "\x1b[2J\xff\xe2\x80\xae'


@pytest.fixture
def ponder(settings):
    def invoke(*arguments, **options):
        return runner.invoke(app, ["--home", str(settings.home), *arguments], **options)

    return invoke


@pytest.fixture
def lake(settings):
    """Two letters: one that would land by now, a newer one that never will."""
    lake = Lake(settings.lake_uri)
    rows = [
        ("items", 0, 7, "validate", "was wrong", b"a", GOOD, FAILED, None),
        ("items", 1, 8, "decode", "not JSON: \x1b[31m", None, HOSTILE, FAILED.replace(day=5), None),
    ]
    lake.put_dead_letters(pl.DataFrame(rows, schema=DEAD_LETTERS.schema, orient="row"))
    return lake


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


def test_drop_asks_first_and_takes_only_what_is_meant(ponder, lake):
    refused = ponder("dead-letters", "drop", input="n\n")
    assert refused.exit_code == 1
    assert "Throw 2 dead letters away?" in refused.output
    assert offsets(lake) == [7, 8]
    dropped = ponder("dead-letters", "drop", "--partition", "1", "--yes", "--json")
    assert json.loads(dropped.stdout) == {"dropped": 1}
    assert offsets(lake) == [7]
    assert ponder("dead-letters", "drop", "--stage", "embed").exit_code == 0  # nothing to ask about


def test_the_lake_is_compacted_vacuumed_and_its_history_told(ponder, lake):
    images = pl.DataFrame({"hash": ["h"], "bytes": [b"1"]}, schema=MEDIA.schema)
    lake.insert_new(MEDIA, images)
    lake.insert_new(MEDIA, images.with_columns(hash=pl.lit("i")))
    compacted = json.loads(ponder("lake", "compact", "--json").stdout)
    assert compacted["media"]["removed"] == 2
    force = ("lake", "vacuum", "--days", "0", "--force", "--media", "--deleted", "--json")
    told = json.loads(ponder(*force, "--dry-run").stdout)
    assert told["media"]["files"] == 2
    assert told["dropped_media"] == 2
    done = json.loads(ponder(*force).stdout)
    assert done["media"]["files"] >= 2
    assert lake.read(MEDIA).is_empty()
    commits = json.loads(ponder("lake", "history", "media", "--json").stdout)["commits"]
    assert [c["version"] for c in commits] == sorted((c["version"] for c in commits), reverse=True)
    assert "CREATE TABLE" in ponder("lake", "history", "media").stdout


def test_an_audit_of_nothing_agrees_and_one_that_differs_exits_with_1(ponder, lake):
    assert json.loads(ponder("audit", "--json").stdout)["agrees"]
    ponder("dead-letters", "replay")
    result = ponder("audit", "--json")
    assert result.exit_code == 1
    [fault] = json.loads(result.stdout)["faults"]
    assert (fault["name"], fault["count"], fault["first"]) == ("missing_embeddings", 1, ["a"])
    assert "missing_embeddings" in ponder("audit").stdout


def test_a_repair_mends_says_what_it_did_and_exits_with_0(ponder, lake):
    ponder("dead-letters", "replay")
    result = ponder("audit", "--repair", "--json")
    assert result.exit_code == 0
    reply = json.loads(result.stdout)
    assert reply["agrees"]
    assert reply["repaired"] == {"missing_embeddings": 1, "index": 1}
