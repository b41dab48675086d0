"""Tests for embedder/base_encoder.py: the front that all encoders share, over a double."""

import time

import numpy as np
import pytest

from embedder.base_encoder import BaseEncoder
from embedder.content import Content, Encoding, Failure


class Lengths(BaseEncoder):
    """Answers backwards with the length of each text; an empty one fails."""

    def __init__(self):
        self.calls = []

    def _answers(self, contents, side, *, policy, deadline, max_new_tokens):
        self.calls.append((side, policy, deadline))
        for number, content in reversed(list(enumerate(contents))):
            if content.text:
                yield number, Encoding(np.array([len(content.text)]), "direct", 0.0)
            else:
                yield number, Failure(LookupError(f"content {number} is empty"))


def test_lists_are_in_the_order_of_the_contents_and_streams_as_answers_come():
    contents = [Content("aa"), Content("b"), Content("cccc")]
    encoder, done = Lengths(), []
    for encodings in (
        encoder.encode_query(contents),
        encoder.encode_items(contents, progress=done.append),
    ):
        assert [int(encoding.vector[0]) for encoding in encodings] == [2, 1, 4]
    assert done == [1, 1, 1]
    assert [number for number, _ in encoder.stream_items(contents)] == [2, 1, 0]
    assert [number for number, _ in encoder.stream_queries(contents)] == [2, 1, 0]


def test_a_list_raises_the_first_failure_and_a_stream_hands_it_on():
    contents = [Content(""), Content("b"), Content("")]
    for encode in (Lengths().encode_query, Lengths().encode_items):
        with pytest.raises(LookupError, match="content 2 is empty"):
            encode(contents)
    failures = [number for number, x in Lengths().stream_items(contents) if isinstance(x, Failure)]
    assert failures == [2, 0]


def test_side_policy_and_the_moment_of_the_deadline_are_handed_to_the_model():
    encoder, before = Lengths(), time.monotonic()
    encoder.encode_query([Content("a")], policy="always", deadline_s=60)
    encoder.encode_items([Content("a")], policy="never")
    list(encoder.stream_queries([Content("a")]))
    asked, items, stream = encoder.calls
    assert asked[:2] == ("query", "always")
    assert before + 60 <= asked[2] <= time.monotonic() + 60
    assert items == ("item", "never", None)
    assert stream == ("query", None, None)
