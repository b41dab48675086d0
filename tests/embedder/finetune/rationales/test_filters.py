"""Tests for embedder/finetune/rationales/filters.py: what is flagged, and what is not."""

import polars as pl
import pytest

from catalog.lake.tables import GENERATED_RATIONALES
from embedder.finetune.rationales.filters import FilterConfig, flagged_rationales

CONFIG = FilterConfig(max_tokens=20, max_chars=200)


def flags_of(*rationales, config=CONFIG):
    """Flags of (text, summary) about one content, in the order of their workers."""
    rows = [
        {
            "key": "k",
            "side": "query",
            "worker": f"w{n:02d}",
            "prompt_version": "1",
            "text": text,
            "summary": summary,
            "num_tokens": 5,
            "failure": None,
        }
        for n, (text, summary) in enumerate(rationales)
    ]
    shuffled = pl.DataFrame(rows[::-1], schema=GENERATED_RATIONALES.schema)
    return [set(generated.flags) for generated in flagged_rationales(shuffled, config)]


@pytest.mark.parametrize(
    ("text", "summary", "flags"),
    [
        ("a lemon is yellow", "yellow mugs", set()),
        ("", "yellow mugs", set()),
        ("...", " - ", {"empty"}),
        ("word " * 41, "", {"too_long"}),
        ("a lemon <|emb|> is yellow", "", {"control"}),
        ("a lemon < |im_end|> is yellow", "", {"control"}),
        ("<think>a lemon</think>", "yellow", {"control"}),
        ("1 < 2 and |x| > 0", "2 mugs", set()),
    ],
)
def test_what_is_wrong_at_first_sight_is_flagged(text, summary, flags):
    assert flags_of((text, summary)) == [flags]


def test_more_tokens_than_allowed_are_too_long():
    row = ("k", "query", "w", "1", "a lemon", "yellow", 21, None)
    frame = pl.DataFrame([row], schema=GENERATED_RATIONALES.schema, orient="row")
    (generated,) = flagged_rationales(frame, CONFIG)
    assert generated.flags == {"too_long"}
    assert (generated.key, generated.worker, generated.num_tokens) == ("k", "w", 21)


def test_the_first_of_those_that_say_the_same_is_no_duplicate():
    said = ("A lemon is yellow.", "yellow mugs")
    again = ("a lemon  is YELLOW", "Yellow mugs!")
    assert flags_of(said, again) == [set(), {"duplicate"}]


def test_texts_with_nearly_all_word_pairs_in_common_are_duplicates_if_they_conclude_the_same():
    long = " ".join(f"w{n}" for n in range(20))
    # 19 word pairs each; a changed last word leaves 18 in common of 20: 0.9.
    changed = long.replace("w19", "x")
    assert flags_of((long, "s"), (changed, "s")) == [set(), {"duplicate"}]
    assert flags_of((long, "3 mugs"), (changed, "4 mugs")) == [set(), set()]
    stricter = FilterConfig(near=0.91, max_chars=200)
    assert flags_of((long, "s"), (changed, "s"), config=stricter) == [set(), set()]


def test_contents_and_sides_are_apart_and_failures_are_no_candidates():
    rows = [
        ("k1", "query", "w", "1", "same", "same", 1, None),
        ("k2", "query", "w", "1", "same", "same", 1, None),
        ("k1", "item", "w", "1", "same", "same", 1, None),
        ("k3", "query", "w", "1", None, None, None, "HTTP 400"),
    ]
    found = flagged_rationales(
        pl.DataFrame(rows, schema=GENERATED_RATIONALES.schema, orient="row"), CONFIG
    )
    assert [(c.side, c.key) for c in found] == [("item", "k1"), ("query", "k1"), ("query", "k2")]
    assert all(not generated.flags for generated in found)


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"max_chars": 0}, {"near": 0.0}])
def test_a_configuration_that_cannot_work_is_refused(options):
    with pytest.raises(ValueError, match="must be"):
        FilterConfig(**options)
