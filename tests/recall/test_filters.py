"""Tests for recall/filters.py: what Milvus Lite returns against the same conditions in Python."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from recall.filters import Filter, Range
from tests.recall.filter_cases import CASES, CODES, HOSTILE, index_filters, meets


@pytest.fixture(scope="module")
def found(index, rows):
    vectors = rows(**{item["item_id"]: [1, 0] for item in CASES})
    frame = vectors.with_columns(
        pl.Series("category", [item["category"] for item in CASES], dtype=pl.String),
        pl.Series("tags", [item["tags"] for item in CASES]),
        pl.Series("attributes", [json.dumps(item["attributes"]) for item in CASES]),
        pl.Series("created_at", [item["created_at"] for item in CASES]),
        pl.Series("codes", [CODES[item["item_id"]] for item in CASES]),
    )
    index.sync("filters", frame, dim=2)

    def matching(condition: Filter) -> set[str]:
        query = np.array([[1.0, 0.0]])
        frame = index.search(query, "filters", limit=100, filter=condition)
        return set(frame["item_id"])

    return matching


@settings(deadline=None, max_examples=150)
@given(index_filters)
def test_any_filter_returns_what_its_conditions_say(found, condition):
    assert found(condition) == {
        item["item_id"] for item in CASES if meets(item, condition, is_true_one=True)
    }


@pytest.mark.parametrize("n", range(1, len(HOSTILE)))
def test_hostile_text_matches_itself_and_nothing_else(found, n):
    item, text = CASES[n], HOSTILE[n]
    if text:  # the index holds "" where an item has no category
        assert found(Filter(category_in=(text,))) == {item["item_id"]}
    assert found(Filter(attributes={text: text})) == {item["item_id"]}
    assert found(Filter(include_ids=(item["item_id"],))) == {item["item_id"]}


def test_a_day_belongs_to_the_range_that_starts_with_it(found):
    day = Filter(created_after=CASES[4]["created_at"], created_before=CASES[5]["created_at"])
    assert found(day) == {CASES[4]["item_id"]}


def test_a_number_beyond_64_bits_is_compared_as_a_float():
    big = Filter(attributes={"x": 2**64})
    assert big.expression() == '(attributes["x"] == 1.8446744073709552e+19)'


def test_both_ends_belong_to_a_range_of_numbers(found):
    between = Filter(attributes={"half": Range(min=1, max=2)})
    assert found(between) == {CASES[n]["item_id"] for n in (2, 3, 4)}


def test_no_category_cannot_be_asked_for():
    with pytest.raises(ValidationError, match="at least 1 item"):
        Filter(category_in=("",))


def test_no_condition_is_no_expression():
    assert Filter().expression() == ""


def test_excluding_adds_to_what_is_excluded():
    assert Filter(exclude_ids=("a",)).excluding(["b", "a"]).exclude_ids == ("a", "b")


@pytest.mark.parametrize(
    ("own", "prefix", "both"),
    [
        (None, "1-2", ("1-2",)),
        (("1", "2"), "1-2", ("1-2",)),
        (("1-2-3", "1-2-4", "1-20"), "1-2", ("1-2-3", "1-2-4")),
        (("1-2",), "1-2", ("1-2",)),
    ],
)
def test_under_a_prefix_both_conditions_hold(own, prefix, both):
    assert Filter(code_prefixes=own).under(prefix).code_prefixes == both


def test_under_a_prefix_that_no_item_can_have_nothing_is_found(found):
    assert found(Filter(code_prefixes=("1-2", "11"))) > found(Filter(code_prefixes=("11",)))
    for own in ("1-2", "1"):  # 11 begins like 1, and is another code
        assert found(Filter(code_prefixes=(own,)).under("11")) == set()


@pytest.mark.parametrize(
    "wrong",
    [
        {"category": "books"},
        {"category_in": []},
        {"tags_any": "x"},
        {"created_after": "2026-01-01T00:00:00"},
        {"attributes": {"x": {}}},
        {"attributes": {"x": {"min": "a"}}},
        {"attributes": {"x": None}},
        {"attributes": {"x": float("nan")}},
        {"attributes": {"x": {"min": float("inf")}}},
        {"category_in": ["\ud800"]},
        {"code_prefixes": []},
        {"code_prefixes": ["1-"]},
        {"code_prefixes": ["01"]},
        {"code_prefixes": ["1%"]},
        {"code_prefixes": ["1-2\n"]},
        {"code_prefixes": ["1-2-3-4-5-6-7-8-9"]},
    ],
)
def test_a_filter_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        Filter.model_validate(wrong)
