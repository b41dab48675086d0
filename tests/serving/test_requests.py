"""Tests for serving/requests.py: an option that says nothing about its query is refused."""

import pytest
from pydantic import ValidationError

from recall.candidates import RecallOptions
from serving.batches import RecallBatch
from serving.examples import BATCH, RECALL_REPLY, RECALL_REQUESTS
from serving.replies import RecallReply
from serving.requests import APPLIES_TO, RecallRequest

QUERIES = {
    "content": {"text": "red"},
    "item": {"item_id": "a"},
    "user": {"user_id": "ann"},
    "history": {"history": ["a"]},
}
VALUES = {
    "reasoning": "auto",
    "max_new_tokens": 8,
    "hybrid": False,
    "exclude_seen": "none",
    "interests": 2,
    "strict": False,
    "code_levels": 1,
}


@pytest.mark.parametrize("kind", QUERIES)
@pytest.mark.parametrize("option", APPLIES_TO)
def test_an_option_goes_with_the_queries_that_it_says_something_about(kind, option):
    query = QUERIES[kind] | {option: VALUES[option]}
    if kind in APPLIES_TO[option]:
        RecallRequest.model_validate(query)
    else:
        with pytest.raises(ValidationError, match=f"{option} goes with .*; leave it out"):
            RecallRequest.model_validate(query)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"image_url": "http://x/", "hybrid": True}, "hybrid looks for the words of a text"),
        ({"text": "a", "reasoning": "never", "max_new_tokens": 3}, "max_new_tokens bounds"),
        ({"image_url": "http://x/", "image_base64": "aa"}, "exactly one of"),
        ({"text": "a", "user_id": "b"}, "got text, user_id"),
        ({}, "got none"),
        ({"text": "a", "exclude_seen": True}, "exclude_seen"),
        ({"text": "a", "mmr_lambda": 1.5}, "less than or equal to 1"),
        ({"text": "a", "max_similarity": 0}, "greater than 0"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_do(query, words):
    with pytest.raises(ValidationError, match=words):
        RecallRequest.model_validate(query)


@pytest.mark.parametrize("name", RECALL_REQUESTS)
def test_the_examples_of_the_reference_are_requests(name):
    RecallRequest.model_validate(RECALL_REQUESTS[name]["value"])


def test_the_other_examples_are_what_they_stand_for():
    batch = RecallBatch.model_validate(BATCH["two"]["value"])
    assert all(RecallRequest.model_validate(query) for query in batch.queries)
    example = RECALL_REPLY["content"]["application/json"]["example"]
    reply = RecallReply.model_validate(example, extra="forbid")
    assert reply.model_fields_set == RecallReply.model_fields.keys()


def test_a_request_becomes_the_options_of_recall():
    options = {"top_k": 7, "mmr_lambda": 0.5, "max_similarity": 0.9, "version": "v1"}
    content = {"hybrid": True, "max_new_tokens": 9}
    request = RecallRequest.model_validate(
        {"text": "red", "reasoning": "always", "deadline_ms": 250} | options | content
    )
    assert request.options() == RecallOptions(
        policy="always", deadline_s=0.25, **options, **content
    )
    user = {"exclude_seen": "shown", "strict": True}
    request = RecallRequest.model_validate({"user_id": "ann", "interests": 5} | user)
    assert request.options() == RecallOptions(top_k=100, max_interests=5, **user)
    assert RecallRequest.model_validate({"history": []}).options().max_interests == 3
