"""Tests for recall/rows.py."""

import json

import polars as pl
import pytest

from recall.collection import MAX_STRING_BYTES
from recall.rows import index_rows, write_batches


@pytest.mark.parametrize(
    ("vector", "match"),
    [
        ([1.0, float("nan")], "finite and not zero"),
        ([0.0, 0.0], "finite and not zero"),
        ([float("inf"), 0.0], "finite and not zero"),
        ([1.0, 0.0, 0.0], "do not have dim 2, first in row 1 with 3"),
        ([], "do not have dim 2, first in row 1 with 0"),
    ],
)
def test_a_vector_without_direction_or_of_another_dim_is_refused(rows, vector, match):
    with pytest.raises(ValueError, match=match):
        index_rows(rows(a=[1, 0], b=vector), dim=2)


def test_a_missing_vector_is_refused(rows):
    frame = rows(a=[1, 0]).with_columns(vector=pl.lit(None, pl.List(pl.Float32)))
    with pytest.raises(ValueError, match="first in row 0 with None"):
        index_rows(frame, dim=2)


def test_an_item_listed_twice_is_refused(rows):
    twice = pl.concat([rows(a=[1, 0]), rows(a=[0, 1])])
    with pytest.raises(ValueError, match="'a' more than once"):
        index_rows(twice, dim=2)


@pytest.mark.parametrize(
    "change",
    [
        {"content_hash": pl.lit("other")},
        {"category": pl.lit("books")},
        {"tags": pl.lit(["x"])},
        {"attributes": pl.lit('{"x": 1}')},
        {"created_at": pl.col("created_at") + pl.duration(microseconds=1)},
    ],
)
def test_any_change_but_the_vectors_changes_the_hash(rows, change):
    frame = rows(a=[1, 0])
    before = index_rows(frame, dim=2)["row_hash"][0]
    assert index_rows(frame.with_columns(**change), dim=2)["row_hash"][0] != before
    assert index_rows(rows(a=[0, 1]), dim=2)["row_hash"][0] == before


def test_metadata_too_large_for_milvus_is_left_out_and_counted(rows, caplog):
    long = "x" * (MAX_STRING_BYTES + 1)
    frame = rows(a=[1, 0], b=[0, 1]).with_columns(
        category=pl.Series([long, "books"]),
        tags=pl.Series([["ok", long], ["ok"]]),
        attributes=pl.Series([json.dumps({"k": long}), '{"k": 1}']),
    )
    kept = index_rows(frame, dim=2)
    assert kept["category"].to_list() == [None, "books"]
    assert kept["tags"].to_list() == [["ok"], ["ok"]]
    assert kept["attributes"].to_list() == ["{}", '{"k": 1}']
    assert "items=1 first=['a']" in caplog.text


STORY = "x" * 80_000
AS_LARGE = {f"k{n}": "x" * 1_000 for n in range(80)}


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({"price": 3, "story": STORY}, {"price": 3}),
        ({"brand": "é", "parts": [STORY], "more": {"a": STORY}}, {"brand": "é"}),
        ({"is_new": True, "none": None, "rate": 0.5, STORY: 1}, {"is_new": True, "rate": 0.5}),
        ({"parts": [1] * 40_000}, {}),
        ({"year": 1999} | AS_LARGE, {"year": 1999} | {f"k{n}": "x" * 1_000 for n in range(64)}),
        ({"big": 10**400, "large": 10**20, "story": STORY}, {"large": 1e20}),
    ],
    ids=["text", "nested", "scalars", "lists-alone", "many", "huge-number"],
)
def test_of_attributes_too_large_the_filterable_are_kept_smallest_first(
    rows, attributes, kept, caplog
):
    # {"year": 1999} has 14 bytes, {"k0": "x..."} 1,010 and {"k10": "x..."} 1,011: beside the year
    # and k0 to k9 there is room in 65,535 for 54 more, k10 to k63.
    frame = rows(a=[1, 0], b=[0, 1]).with_columns(
        attributes=pl.Series([json.dumps(attributes, ensure_ascii=False), '{"fine": [1]}'])
    )
    held = index_rows(frame, dim=2)["attributes"]
    assert held[1] == '{"fine": [1]}'
    assert json.loads(held[0]) == kept
    assert len(held[0].encode()) <= MAX_STRING_BYTES
    assert "first=['a']" in caplog.text


def test_tags_beyond_what_milvus_holds_are_left_out_and_the_item_named(rows, caplog):
    tags = [f"t{n:05d}" for n in range(5_000)]
    kept = index_rows(rows(a=[1, 0]).with_columns(tags=pl.Series([tags])), dim=2)
    assert kept["tags"].to_list() == [tags[:4_096]]
    assert "first=['a']" in caplog.text


def test_writes_are_cut_by_bytes_and_lose_nothing(rows):
    frame = index_rows(rows(**{f"i{n}": [1.0] * 256 for n in range(10)}), dim=256)
    # A row is 4 * 256 bytes of vector, 256 around it, 2 of id and 2 of attributes: 1284.
    batches = list(write_batches(frame, max_bytes=3 * 1284))
    assert [row["item_id"] for batch in batches for row in batch] == frame["item_id"].to_list()
    assert max(len(batch) for batch in batches) == 3
    assert len(batches) == 4


def test_an_integer_beyond_64_bits_becomes_a_float(rows):
    frame = rows(a=[1, 0]).with_columns(
        attributes=pl.lit('{"big": 10000000000000000000000, "small": -9223372036854775807}')
    )
    [[entity]] = write_batches(index_rows(frame, dim=2), max_bytes=1000)
    assert entity["attributes"] == {"big": 1e22, "small": -9223372036854775807}
