"""Tests for serving/deadlines.py."""

import time

import pytest

from recall.client import TimedClient
from recall.errors import IndexFailed, OutOfTime
from serving.deadlines import until


class Milvus:
    """Fails every call."""

    def search(self, *, timeout):
        raise IndexFailed(message="DEADLINE_EXCEEDED")


CLIENT = TimedClient(Milvus(), timeout_s=60.0, on_failure=lambda: None)


def test_an_index_that_fails_when_the_deadline_has_passed_is_out_of_time():
    with pytest.raises(OutOfTime, match="deadline passed"), until(time.monotonic()):
        CLIENT.search()


def test_an_index_that_fails_before_the_deadline_has_failed():
    with pytest.raises(IndexFailed, match="DEADLINE_EXCEEDED"), until(time.monotonic() + 60):
        CLIENT.search()


def test_without_a_deadline_an_index_that_fails_has_failed():
    with pytest.raises(IndexFailed, match="DEADLINE_EXCEEDED"), until(None):
        CLIENT.search()
