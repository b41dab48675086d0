"""Tests for ponder/cli/recall.py: every option reaches recall, and mistakes get helpful words."""

import json

import pytest
from typer.testing import CliRunner

from ponder.cli.app import app
from tests.clips import bar_clip
from tests.sounds import tone_file


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], 'say what to look for: words ("3 red mugs"), --image, --video, --audio, --item'),
        (["mug", "--filter", "{bad"], "--filter must be a JSON object, got '{bad': Expecting"),
        (["mug", "--filter", "{bad"], """write one like '{"category_in": ["toys"]}'"""),
        (["mug", "--filter", "[1]"], "--filter must be a JSON object, got '[1]'"),
        (
            ["mug", "--filter", '{"created_after": "2026-01-01T00:00:00"}'],
            "filter.created_after: a time must carry a time zone, such as 2026-01-31T08:00:00Z",
        ),
        (["mug", "--filter", '{"colour": 1}'], "filter.colour: there is no such field; /docs"),
        (["mug", "--item", "a"], "a query must have exactly one of"),
        (["--item", "a", "--reasoning", "never"], "reasoning goes with a text, an image, a clip"),
        (
            ["--item", "a", "--hybrid"],
            "hybrid goes with a text, an image, a clip or a sound, got",
        ),
        (["mug", "--interests", "2"], "interests goes with user_id or history"),
        (
            ["mug", "--reasoning", "perhaps"],
            "reasoning: Input should be 'auto', 'always' or 'never'",
        ),
        (["mug", "--mmr", "2"], "mmr_lambda: Input should be less than or equal to 1"),
        (["--image", "nowhere.png"], "nowhere.png"),
        (["--video", "nowhere.gif"], "nowhere.gif"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(ponder, arguments, words):
    result = ponder("recall", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "pydantic.dev" not in result.stderr


def asked(home, *arguments):
    result = CliRunner().invoke(app, ["--home", str(home), "recall", *arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def ids(reply):
    return {found["item_id"] for found in reply["candidates"]}


def test_a_clip_is_asked_by(shop_home, tmp_path):
    (tmp_path / "clip.gif").write_bytes(bar_clip("gif", num_frames=4))
    alone = asked(shop_home, "--video", str(tmp_path / "clip.gif"))
    beside = asked(shop_home, "mug", "--video", str(tmp_path / "clip.gif"))
    assert len(alone["candidates"]) == len(beside["candidates"]) > 0
    assert alone["candidates"][0]["score"] != beside["candidates"][0]["score"]


def test_a_version_that_hears_nothing_passes_over_a_sound_and_says_so_of_one_alone(
    shop_home, tmp_path
):
    (tmp_path / "a.wav").write_bytes(tone_file(seconds=0.2))
    sound = ["--audio", str(tmp_path / "a.wav")]
    beside, alone = asked(shop_home, "mug", *sound), asked(shop_home, "mug")
    assert beside["candidates"] == alone["candidates"]
    result = CliRunner().invoke(app, ["--home", str(shop_home), "recall", *sound])
    assert result.exit_code == 1
    assert "the model reads no sounds, and there is one without a text" in result.stderr


def test_every_option_reaches_recall(shop_home):
    assert ids(asked(shop_home, "--user", "ann")) == {"m3", "h1"}
    assert ids(asked(shop_home, "--user", "ann", "--exclude-seen", "liked")) == {"m2", "m3", "h1"}
    only = ["--filter", '{"attributes": {"price": {"max": 1}}}', "--exclude", "m1"]
    assert ids(asked(shop_home, "mug", *only)) == {"m2"}
    hybrid = asked(shop_home, "hose", "--hybrid", "--reasoning", "never", "--top-k", "1")
    assert [found["channels"] for found in hybrid["candidates"]] == [["content", "lexical"]]
    assert hybrid["candidates"][0]["title"] == "a garden hose"
    history = asked(shop_home, "--history", "m1", "--history", "h1", "--interests", "2")
    assert {one["item_id"] for one in history["interests"]} == {"m1", "h1"}
    always = asked(shop_home, "mug", "--reasoning", "always", "--max-new-tokens", "2")
    assert always["action"] == "reason"
    spread = asked(shop_home, "mug", "--mmr", "0.5", "--max-similarity", "0.99", "--top-k", "2")
    assert len(spread["candidates"]) == 2
    assert asked(shop_home, "mug", "--version", always["version"])["version"] == always["version"]


def test_a_stranger_gets_what_is_popular_and_is_told_and_a_strict_query_fails(shop_home):
    reply = asked(shop_home, "--user", "eve")
    assert ids(reply) == {"m1", "m2", "m3", "h1"}
    assert "user 'eve' has no history of likes" in reply["fallback"]
    arguments = ["--home", str(shop_home), "recall", "--user", "eve", "--strict"]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, "has no history of likes" in result.stderr) == (1, True)


def test_a_person_sees_titles_channels_and_hints(shop_home):
    arguments = [
        "--home",
        str(shop_home),
        "recall",
        "mug",
        "--filter",
        '{"attributes": {"prize": 1}}',
    ]
    result = CliRunner().invoke(app, arguments)
    assert "the nearest that items have: 'price'" in result.stdout
    result = CliRunner().invoke(app, ["--home", str(shop_home), "recall", "--item", "m1"])
    assert "a blue mug" in result.stdout
