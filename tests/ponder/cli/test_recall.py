"""Tests for ponder/cli/recall.py: every option reaches recall, and mistakes get helpful words."""

import json

import pytest
from typer.testing import CliRunner

from catalog.ingest.landing import land
from catalog.ingest.source import open_source
from catalog.lake.lake import Lake
from ponder.cli.app import app
from ponder.settings import Settings
from ponder.steps.embed import embed, plan
from ponder.steps.index import index, promote


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], 'say what to look for: words ("3 red mugs"), --image, --item, --user or --history'),
        (["mug", "--filter", "{bad"], "--filter must be a JSON object, got '{bad': Expecting"),
        (["mug", "--filter", "{bad"], """write one like '{"category_in": ["toys"]}'"""),
        (["mug", "--filter", "[1]"], "--filter must be a JSON object, got '[1]'"),
        (
            ["mug", "--filter", '{"created_after": "2026-01-01T00:00:00"}'],
            "filter.created_after: Input should have timezone info",
        ),
        (["mug", "--filter", '{"colour": 1}'], "filter.colour: Extra inputs are not permitted"),
        (["mug", "--item", "a"], "a query must have exactly one of"),
        (["--item", "a", "--reasoning", "never"], "reasoning goes with a text or an image"),
        (["--item", "a", "--hybrid"], "hybrid goes with a text or an image, got it with item_id"),
        (["mug", "--interests", "2"], "interests goes with user_id or history"),
        (
            ["mug", "--reasoning", "perhaps"],
            "reasoning: Input should be 'auto', 'always', 'never' or",
        ),
        (["mug", "--mmr", "2"], "mmr_lambda: Input should be less than or equal to 1"),
        (["--image", "nowhere.png"], "nowhere.png"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(ponder, arguments, words):
    result = ponder("recall", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "pydantic.dev" not in result.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three mugs and a hose, embedded and live, and a user who likes one of them."""
    folder, home = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("home")
    titles = {"m1": "a red mug", "m2": "a blue mug", "m3": "a green mug", "h1": "a garden hose"}
    at = "2026-03-01T10:00:00Z"
    items = [
        {"item_id": i, "title": t, "updated_at": at, "attributes": {"price": n}}
        for n, (i, t) in enumerate(titles.items())
    ]
    events = [
        {"event_id": "1", "user_id": "ann", "item_id": "m1", "action": "like", "ts": at},
        {"event_id": "2", "user_id": "ann", "item_id": "m2", "action": "skip", "ts": at},
    ]
    for name, rows in (("items", items), ("events", events)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Settings(home=home)
    land(open_source(folder), Lake(settings.lake_uri))
    for shard in plan(settings).shards:
        embed(settings, shard)
    index(settings)
    promote(settings)
    return home


def asked(home, *arguments):
    result = CliRunner().invoke(app, ["--home", str(home), "recall", *arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def ids(reply):
    return {found["item_id"] for found in reply["candidates"]}


def test_every_option_reaches_recall(home):
    assert ids(asked(home, "--user", "ann")) == {"m3", "h1"}
    assert ids(asked(home, "--user", "ann", "--exclude-seen", "liked")) == {"m2", "m3", "h1"}
    only = ["--filter", '{"attributes": {"price": {"max": 1}}}', "--exclude", "m1"]
    assert ids(asked(home, "mug", *only)) == {"m2"}
    hybrid = asked(home, "a hose", "--hybrid", "--reasoning", "never", "--top-k", "1")
    assert [found["channels"] for found in hybrid["candidates"]] == [["content", "lexical"]]
    assert hybrid["candidates"][0]["title"] == "a garden hose"
    history = asked(home, "--history", "m1", "--history", "h1", "--interests", "2")
    assert {one["item_id"] for one in history["interests"]} == {"m1", "h1"}
    always = asked(home, "mug", "--reasoning", "always", "--max-new-tokens", "2")
    assert always["action"] == "reason"
    spread = asked(home, "mug", "--mmr", "0.5", "--max-similarity", "0.99", "--top-k", "2")
    assert len(spread["candidates"]) == 2
    assert asked(home, "mug", "--version", always["version"])["version"] == always["version"]


def test_a_stranger_gets_what_is_popular_and_is_told_and_a_strict_query_fails(home):
    reply = asked(home, "--user", "eve")
    assert ids(reply) == {"m1", "m2", "m3", "h1"}
    assert "user 'eve' has no history of likes" in reply["fallback"]
    arguments = ["--home", str(home), "recall", "--user", "eve", "--strict"]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, "has no history of likes" in result.stderr) == (1, True)


def test_a_person_sees_titles_channels_and_hints(home):
    arguments = ["--home", str(home), "recall", "mug", "--filter", '{"attributes": {"prize": 1}}']
    result = CliRunner().invoke(app, arguments)
    assert "the nearest that items have: 'price'" in result.stdout
    result = CliRunner().invoke(app, ["--home", str(home), "recall", "--item", "m1"])
    assert "a blue mug" in result.stdout
