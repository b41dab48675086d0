"""Tests for recall/filters.py: what Milvus Lite returns against the same conditions in Python."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recall.filters import Filter, Range

HOSTILE = (
    "plain",
    'quo"te',
    "apo'strophe",
    "back\\slash",
    'both\\"',
    "new\nline\r\ttab",
    '"] or item_id != "',
    "%_*[](){}$meta",
    "null",
    "émoji 🦆\u2028\x00\x7f",
    "",
)
DAY = datetime(1970, 1, 1, tzinfo=UTC)

ITEMS = [
    {
        "item_id": f"i{n}{text}",
        "category": None if n == 0 else text,
        "tags": sorted({text, HOSTILE[n - 1]}) if n % 3 else [],
        "attributes": {"n": n, text: text, "half": n / 2} | ({"odd": n % 2 == 1} if n < 8 else {}),
        "created_at": DAY + timedelta(days=n - 2, microseconds=n),
    }
    for n, text in enumerate(HOSTILE)
]


def meets(item, condition: Filter) -> bool:
    """The meaning of a filter, spelled out again in Python."""
    c, tags = condition, item["tags"]
    return (
        (c.category_in is None or item["category"] in c.category_in)
        and (c.tags_any is None or any(tag in tags for tag in c.tags_any))
        and (c.tags_all is None or all(tag in tags for tag in c.tags_all))
        and (c.created_after is None or item["created_at"] >= c.created_after)
        and (c.created_before is None or item["created_at"] < c.created_before)
        and all(attribute_meets(item["attributes"], *pair) for pair in c.attributes.items())
        and (c.include_ids is None or item["item_id"] in c.include_ids)
        and item["item_id"] not in c.exclude_ids
    )


def attribute_meets(attributes, name, condition) -> bool:
    if name not in attributes:
        return False
    value = attributes[name]
    if isinstance(condition, Range):
        return (
            not isinstance(value, str)
            and (condition.min is None or value >= condition.min)
            and (condition.max is None or value <= condition.max)
        )
    return value in (condition if isinstance(condition, tuple) else (condition,))


@pytest.fixture(scope="module")
def found(index, rows):
    vectors = rows(**{item["item_id"]: [1, 0] for item in ITEMS})
    frame = vectors.with_columns(
        pl.Series("category", [item["category"] for item in ITEMS], dtype=pl.String),
        pl.Series("tags", [item["tags"] for item in ITEMS]),
        pl.Series("attributes", [json.dumps(item["attributes"]) for item in ITEMS]),
        pl.Series("created_at", [item["created_at"] for item in ITEMS]),
    )
    index.sync("filters", frame, dim=2)

    def matching(condition: Filter) -> set[str]:
        query = np.array([[1.0, 0.0]])
        frame = index.search(query, "filters", limit=100, expression=condition.expression())
        return set(frame["item_id"])

    return matching


texts = st.sampled_from(HOSTILE) | st.text(max_size=8)
strings = st.lists(texts, min_size=1, max_size=3).map(tuple)
names = st.lists(texts.filter(bool), min_size=1, max_size=3).map(tuple)
ids = st.lists(st.sampled_from([item["item_id"] for item in ITEMS]) | texts, max_size=4).map(tuple)
moments = st.integers(-3, 12).map(lambda n: DAY + timedelta(days=n - 2, microseconds=n))
numbers = st.integers(-2, 12) | st.floats(-2, 12)
scalars = texts | numbers | st.booleans()
ranges = st.builds(Range, min=numbers) | st.builds(Range, max=numbers, min=st.none() | numbers)
attributes = st.dictionaries(
    st.sampled_from(["n", "half", "odd", *HOSTILE]) | texts,
    scalars | ranges | st.lists(scalars, min_size=1, max_size=3).map(tuple),
    max_size=2,
)
CONDITIONS = {
    "category_in": names,
    "tags_any": strings,
    "tags_all": strings,
    "created_after": moments,
    "created_before": moments,
    "attributes": attributes,
    "include_ids": ids,
    "exclude_ids": ids,
}
# One or two conditions at a time: with more, hardly a filter would let anything through.
filters = (
    st.lists(st.sampled_from(sorted(CONDITIONS)), min_size=1, max_size=2, unique=True)
    .flatmap(lambda names: st.fixed_dictionaries({name: CONDITIONS[name] for name in names}))
    .map(lambda conditions: Filter(**conditions))
)


@settings(deadline=None, max_examples=150)
@given(filters)
def test_any_filter_returns_what_its_conditions_say(found, condition):
    assert found(condition) == {item["item_id"] for item in ITEMS if meets(item, condition)}


@pytest.mark.parametrize("n", range(1, len(HOSTILE)))
def test_hostile_text_matches_itself_and_nothing_else(found, n):
    item, text = ITEMS[n], HOSTILE[n]
    if text:  # the index holds "" where an item has no category
        assert found(Filter(category_in=(text,))) == {item["item_id"]}
    assert found(Filter(attributes={text: text})) == {item["item_id"]}
    assert found(Filter(include_ids=(item["item_id"],))) == {item["item_id"]}


def test_a_day_belongs_to_the_range_that_starts_with_it(found):
    day = Filter(created_after=ITEMS[4]["created_at"], created_before=ITEMS[5]["created_at"])
    assert found(day) == {ITEMS[4]["item_id"]}


def test_a_number_beyond_64_bits_is_compared_as_a_float():
    big = Filter(attributes={"x": 2**64})
    assert big.expression() == '(attributes["x"] == 1.8446744073709552e+19)'


def test_both_ends_belong_to_a_range_of_numbers(found):
    between = Filter(attributes={"half": Range(min=1, max=2)})
    assert found(between) == {ITEMS[n]["item_id"] for n in (2, 3, 4)}


def test_no_category_cannot_be_asked_for():
    with pytest.raises(ValidationError, match="at least 1 item"):
        Filter(category_in=("",))


def test_no_condition_is_no_expression():
    assert Filter().expression() == ""


def test_excluding_adds_to_what_is_excluded():
    assert Filter(exclude_ids=("a",)).excluding(["b", "a"]).exclude_ids == ("a", "b")


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
    ],
)
def test_a_filter_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        Filter.model_validate(wrong)
