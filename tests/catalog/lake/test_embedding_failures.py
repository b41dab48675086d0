"""Tests for embedding_failures.py: a letter says which embedding is not to be tried again."""

from datetime import UTC, datetime

import polars as pl
from polars.testing import assert_frame_equal

from catalog.lake.embedding_failures import (
    dead_letter_keys,
    embedding_dead_letters,
    failed_embeddings,
)
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = pl.DataFrame({"item_id": ["b/é", "a", "fine"], "content_hash": ["h2", "h1", "h3"]})


def letters(version="v-1"):
    reasons = {"a": "cut off", "b/é": "no image"}
    return embedding_dead_letters(ITEMS, reasons, model_version=version, failed_at=NOW)


def test_a_letter_keeps_the_item_its_content_and_the_reason():
    rows = letters().select("topic", "stage", "reason", "key", "value").rows()
    assert rows == [
        ("embed/v-1/a", "embed", "cut off", b"a", b"h1"),
        ("embed/v-1/b/é", "embed", "no image", "b/é".encode(), b"h2"),
    ]
    assert letters().schema == DEAD_LETTERS.schema


def test_what_failed_is_told_by_the_letters_of_the_version_alone():
    other_stages = letters().with_columns(stage=pl.lit("media"), key=pl.lit(b"\xff"))
    stored = pl.concat([letters(), letters("v"), letters("v-10"), other_stages]).lazy()
    failed = failed_embeddings(stored, model_version="v-1").sort("item_id")
    expected = pl.DataFrame(
        [("a", "h1", "v-1"), ("b/é", "h2", "v-1")],
        schema={name: pl.String for name in EMBEDDINGS.key},
        orient="row",
    )
    assert_frame_equal(failed, expected)


def test_the_letters_of_items_are_found_by_their_keys():
    keys = dead_letter_keys(ITEMS.head(2), model_version="v-1").sort("topic")
    assert_frame_equal(keys, letters().select(DEAD_LETTERS.key))
