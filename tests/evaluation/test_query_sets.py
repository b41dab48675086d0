"""Tests for evaluation/query_sets.py, with vectors made by hand."""

import numpy as np
import pytest

from embedder.content import Content
from evaluation.query_sets import Query, QuerySet, read_queries, slices, write_queries

CONTENTS = {name: Content(name) for name in "abc"}
NEAR_B = np.array([[0.6, 0.8, 0.0]], np.float32)


def asked(**query):
    return QuerySet(CONTENTS, [Query(query_id="q", **query)])


def query(text, *relevant, tier="literal", held_out=False):
    return Query(query_id=text, text=text, relevant=list(relevant), tier=tier, held_out=held_out)


def test_a_query_is_measured_by_where_its_right_item_stands():
    scores = asked(text="x", relevant=["a", "gone"]).evaluate(NEAR_B, np.eye(3))
    assert scores["hit@1"] == [0]
    assert scores["recall@10"] == [1]
    assert scores["ndcg@10"] == pytest.approx([1 / np.log2(3)])


def test_the_item_that_is_asked_with_is_not_found():
    query_set = asked(item="b", relevant=["a"])
    assert query_set.query_contents == [Content("b")]
    assert query_set.evaluate(NEAR_B, np.eye(3))["hit@1"] == [1]


def test_slices_are_the_tiers_and_what_was_held_out():
    queries = [
        query("x", "a", tier="literal"),
        query("y", "a", tier="composed", held_out=True),
        query("z", "a", tier="literal"),
    ]
    found = {name: rows.tolist() for name, rows in slices(queries).items()}
    assert found == {"all": [0, 1, 2], "composed": [1], "literal": [0, 2], "held_out": [1]}
    assert list(slices([query("x", "a", tier="all")])) == ["all"]


def test_queries_come_back_as_they_were_written(tmp_path):
    queries = [query("red", "r1", held_out=True), Query(query_id="q", item="i", relevant=["r1"])]
    write_queries(tmp_path / "queries.jsonl", queries)
    assert read_queries(tmp_path / "queries.jsonl") == queries


def test_a_line_that_is_no_query_is_named(tmp_path):
    file = tmp_path / "queries.jsonl"
    file.write_text('{"query_id": "q", "text": "red", "relevant": ["r1"]}\n{"text": 3}\n')
    with pytest.raises(ValueError, match=r"queries\.jsonl:2 is not a query"):
        read_queries(file)


def test_a_query_without_a_text_or_an_item_is_named(tmp_path):
    file = tmp_path / "queries.jsonl"
    file.write_text('{"query_id": "q", "relevant": ["r1"]}\n')
    with pytest.raises(ValueError, match=r"queries\.jsonl:1 is not a query: .* got neither"):
        read_queries(file)


def test_queries_are_read_with_marks_blank_lines_and_nulls(tmp_path):
    file = tmp_path / "queries.jsonl"
    line = b'{"query_id": "q", "relevant": ["a"], "text": "mug"}'
    with_nulls = line.replace(b"}", b', "item": null, "tier": null, "held_out": null}')
    file.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n\xef\xbb\xbf" + with_nulls)
    assert read_queries(file) == [Query(query_id="q", relevant=["a"], text="mug")] * 2
