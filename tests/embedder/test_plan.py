"""Tests for embedder/plan.py: what is left to do."""

import polars as pl
import pytest

from embedder.plan import plan, shards


def items(*rows):
    return pl.DataFrame(rows, schema=["item_id", "content_hash", "deleted"], orient="row")


def done(*rows):
    schema = {"item_id": pl.String, "content_hash": pl.String, "model_version": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def planned(items, embeddings):
    return plan(items, embeddings, model_version="v2")["item_id"].to_list()


def test_only_new_contents_of_living_items_are_planned():
    catalogue = items(
        ("new", "h1", False), ("same", "h2", False), ("edited", "h3b", False), ("gone", "h4", True)
    )
    embedded = done(("same", "h2", "v2"), ("edited", "h3a", "v2"))
    assert planned(catalogue, embedded) == ["edited", "new"]


def test_another_versions_embedding_does_not_count():
    assert planned(items(("a", "h", False)), done(("a", "h", "v1"))) == ["a"]


def test_nothing_new_is_an_empty_plan_without_shards():
    todo = plan(items(("a", "h", False)), done(("a", "h", "v2")), model_version="v2")
    assert todo.is_empty()
    assert shards(todo, shard_size=3) == []


def test_shards_are_consecutive_and_complete():
    todo = plan(items(*((f"i{n}", "h", False) for n in range(7))), done(), model_version="v2")
    pieces = shards(todo, shard_size=3)
    assert [len(piece) for piece in pieces] == [3, 3, 1]
    assert pl.concat(pieces).equals(todo)


def test_a_shard_size_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="shard_size must be at least 1, got 0"):
        shards(items(), shard_size=0)
