"""Tests for embedder/finetune/data/search_pairs.py."""

from datetime import UTC, datetime, timedelta

import polars as pl

from catalog.lake.tables import EVENTS
from embedder.finetune.data.search_pairs import search_pairs

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(hours):
    return NOON + timedelta(hours=hours)


def positives(*rows):
    """(request_id, user_id, item_id, hours after noon)."""
    return pl.DataFrame(
        [
            (f"e{n}", request, user, item, "click", None, None, at(hours))
            for n, (request, user, item, hours) in enumerate(rows)
        ],
        schema=EVENTS.schema,
        orient="row",
    )


def searches(**texts):
    return pl.DataFrame({"request_id": list(texts), "text": list(texts.values())})


def test_what_was_taken_from_a_page_answers_what_was_asked_there():
    found = search_pairs(
        searches(r1="red mug", r2="hat"),
        positives(
            ("r1", "u", "1", 0), ("r1", "u", "2", 1), ("r2", "u", "3", 2), ("r9", "u", "4", 3)
        ),
        before=at(10),
    )
    assert found.select("query_text", "target_item", "ts").rows() == [
        ("hat", "3", at(2)),
        ("red mug", "1", at(0)),
        ("red mug", "2", at(1)),
    ]
    assert found["source"].unique().to_list() == ["search"]


def test_case_and_spaces_make_no_other_question_and_users_are_counted_once():
    found = search_pairs(
        searches(r1=" Red   mug ", r2="red mug", r3="red mug"),
        positives(("r2", "u", "1", 1), ("r1", "v", "1", 0), ("r3", "u", "1", 2)),
        before=at(10),
    )
    assert found.select("query_key", "query_text", "weight", "ts").rows() == [
        ("red mug", "Red mug", 2.0, at(0))
    ]


def test_events_from_the_split_on_are_not_seen():
    found = search_pairs(
        searches(r1="mug", r2="mug"),
        positives(("r1", "u", "1", 0), ("r2", "v", "2", 1)),
        before=at(1),
    )
    assert found["target_item"].to_list() == ["1"]


def test_blank_and_missing_texts_ask_nothing():
    found = search_pairs(
        searches(r1="  ", r2=None),
        positives(("r1", "u", "1", 0), ("r2", "u", "2", 0)),
        before=at(1),
    )
    assert found.is_empty()
