"""Tests for recall/content_query.py: which queries one search can answer."""

from concurrent.futures import Future

import pytest

from recall.candidates import RecallOptions
from recall.content_query import EncodedQuery, SubmittedQuery
from recall.filters import Filter
from recall.stages import Stages

ENCODED = None  # what it is does not matter to what is searched


def query(version="v1", text="red", **options):
    submitted = SubmittedQuery(text, version, Future())
    return EncodedQuery(submitted, ENCODED, RecallOptions(**options), Stages())


def test_text_reasoning_and_deadline_do_not_matter_to_a_search():
    one = query(filter=Filter(category_in=("a",)))
    other = query(
        text="green", filter=Filter(category_in=("a",)), policy="always", deadline_s=1, strict=True
    )
    assert one.alike == other.alike is not None


@pytest.mark.parametrize(
    "other",
    [
        query("v2"),
        query(top_k=99),
        query(filter=Filter(exclude_ids=("a",))),
        query(filter=Filter(attributes={"new": 1})),
    ],
)
def test_version_number_and_filter_do(other):
    assert query().alike != other.alike


def test_one_and_true_are_not_alike_although_python_says_so():
    one, true = (query(filter=Filter(attributes={"new": value})) for value in (1, True))
    assert one.options == true.options
    assert one.alike != true.alike


@pytest.mark.parametrize("alone", [{"hybrid": True}, {"mmr_lambda": 0.5}, {"max_similarity": 0.9}])
def test_what_takes_more_than_one_search_is_like_no_other(alone):
    assert query(**alone).alike is None
