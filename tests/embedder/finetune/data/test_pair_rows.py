"""Tests for embedder/finetune/data/pair_rows.py."""

import polars as pl
import pytest

from embedder.content import Content
from embedder.finetune.data.pair_rows import PAIRS, pair_rows, read_pairs

MUG, CUP, HAT = Content("mug", b"mug"), Content("cup", b"cup"), Content("hat")
CONTENTS = {"1": MUG, "2": CUP, "3": HAT}


def rows(*pairs, source="search", **columns):
    found = pl.DataFrame(pairs, schema=["query_key", "target_item"], orient="row")
    return pair_rows(found.with_columns(**columns), source=source)


def text_rows(*pairs):
    return rows(*pairs, query_text=pl.col("query_key"))


def test_rows_have_the_tables_columns_and_are_sorted_by_keys():
    frame = text_rows(("mug", "2"), ("cup", "2"), ("mug", "1"))
    assert frame.schema == PAIRS.schema
    assert frame.select("query_key", "target_key").rows() == [
        ("cup", "2"),
        ("mug", "1"),
        ("mug", "2"),
    ]


def test_a_pairs_id_tells_sources_and_keys_apart_and_nothing_else():
    ids = text_rows(("a", "bc"), ("ab", "c"))["pair_id"].to_list()
    other = rows(("a", "bc"), ("ab", "c"), source="other")["pair_id"].to_list()
    assert len({*ids, *other}) == 4
    heavier = rows(("a", "bc"), ("ab", "c"), weight=pl.lit(7))
    assert heavier["pair_id"].to_list() == ids


def test_a_query_is_a_text_or_an_item_and_a_target_may_be_shown_without_words():
    read = read_pairs(
        pl.concat(
            [
                text_rows(("red mug", "1")),
                rows(("2", "3"), source="taste", query_item=pl.col("query_key")),
                rows(
                    ("a cup", "2"),
                    source="title",
                    query_text=pl.lit("A cup"),
                    target_view=pl.lit("image"),
                ),
            ]
        ),
        CONTENTS,
    )
    assert [(pair.query, pair.target) for pair in read.pairs] == [
        (Content("red mug"), MUG),
        (CUP, HAT),
        (Content("A cup"), Content(image=b"cup")),
    ]
    assert [pair.source for pair in read.pairs] == ["search", "taste", "title"]
    assert read.skipped == {}


def test_a_pair_knows_the_other_answers_to_its_query_and_the_item_that_asks():
    frame = rows(("1", "2"), ("1", "9"), ("3", "1"), source="taste", query_item="query_key")
    read = read_pairs(frame, CONTENTS)
    answers = {pair.query_key: pair.answers for pair in read.pairs}
    assert answers == {"1": {"1", "2", "9"}, "3": {"1", "3"}}  # 9 has no content, and is right


def test_answers_of_another_source_are_none():
    frame = pl.concat([text_rows(("mug", "1")), rows(("mug", "2"), source="other")])
    assert [pair.answers for pair in read_pairs(frame, CONTENTS).pairs] == [{"1"}, {"2"}]


def test_rows_that_cannot_be_read_are_named_with_a_reason():
    frame = pl.concat(
        [
            text_rows(("mug", "9")),
            rows(("8", "1"), source="taste", query_item="query_key"),
            rows(("hat", "3"), source="title", target_view=pl.lit("image")),
        ]
    )
    read = read_pairs(frame, CONTENTS)
    assert read.pairs == []
    assert [read.skipped[pair_id] for pair_id in frame["pair_id"]] == [
        "item '9' has no content",
        "item '8' has no content",
        "item '3' has no image",
    ]


def test_a_view_that_an_earlier_release_wrote_is_refused():
    rows = pair_rows(pl.DataFrame({"query_key": ["q"], "target_item": ["1"]}), source="a")
    with pytest.raises(ValueError, match="must be one of whole, image, got 'picture'"):
        read_pairs(rows.with_columns(target_view=pl.lit("picture")), CONTENTS)
