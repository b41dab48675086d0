"""Tests for serving/batches.py: each query has its reply or its own error."""

import threading

import pytest
from fastapi.testclient import TestClient

from recall.errors import IndexFailed, NotFound
from recall.search import Recall
from serving.app import create_app
from serving.batches import AT_ONCE, MAX_BATCH
from tests.index_fixtures import KnownHistories

ITEMS = {"rose": [1, 0, 0, 0], "leaf": [0, 1, 0, 0], "sky": [0, 0, 1, 0]}
PATH = "/v1/recall/batch"


@pytest.fixture(scope="module")
def client(index, rows, encoder):
    index.sync("v1", rows(**ITEMS), dim=4)
    index.promote("v1")
    recall = Recall(index, lambda version: encoder, KnownHistories())
    with TestClient(create_app(recall)) as opened:
        yield opened


def test_queries_are_answered_in_order_each_with_its_reply_or_its_own_error(client):
    queries = [
        {"text": "red", "top_k": 1},
        {"text": "red", "top_k": 0},
        {"item_id": "gone"},
        {"text": "pink"},
        {"item_id": "rose", "interests": 2},
        {"item_id": "leaf", "top_k": 1, "explain": True},
    ]
    reply = client.post(PATH, json={"queries": queries}).json()
    answers = reply["answers"]
    alone = [client.post("/v1/recall", json=query).json() for query in queries]
    for answer, one in zip(answers, alone, strict=True):
        if "error" in one:
            assert answer["reply"] is None
            assert answer["error"]["type"] == one["error"]["type"]
        else:
            assert answer["error"] is None
            assert answer["reply"]["candidates"] == one["candidates"]
    assert [answer["error"] and answer["error"]["type"] for answer in answers] == [
        *(None, "invalid_request", "not_found", "invalid_query", "invalid_request", None)
    ]
    assert answers[1]["error"]["fields"][0]["field"] == "top_k"
    assert reply["took_ms"] > 0


@pytest.mark.parametrize(
    "body", [{}, {"queries": []}, {"queries": [{}] * (MAX_BATCH + 1)}, {"queries": ["red"]}]
)
def test_a_batch_that_is_none_is_refused_whole(client, body):
    reply = client.post(PATH, json=body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (422, "invalid_request")


def test_each_query_counts_as_one(client):
    client.post(PATH, json={"queries": [{"history": ["rose"]}] * 3})
    assert 'recall_answers_total{kind="history",outcome="ok"} 3.0' in client.get("/metrics").text


class Slow:
    """A recall that tells how many queries are under way at once."""

    def __init__(self):
        self.now, self.most, self.lock = 0, 0, threading.Lock()
        self.all_there = threading.Barrier(AT_ONCE)

    def by_item(self, item_id, options, stages):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.all_there.wait(10)
        with self.lock:
            self.now -= 1
        raise NotFound(item_id)


def test_queries_of_a_batch_are_under_way_together_and_no_more_than_some():
    slow = Slow()
    with TestClient(create_app(slow)) as client:
        reply = client.post(PATH, json={"queries": [{"item_id": "a"}] * (3 * AT_ONCE)})
    assert {answer["error"]["type"] for answer in reply.json()["answers"]} == {"not_found"}
    assert slow.most == AT_ONCE


def test_an_index_that_fails_is_told_of_without_its_words_and_a_fault_of_ours_is_500():
    class Failing:
        def by_item(self, item_id, options, stages):
            raise IndexFailed(message="secret") if item_id == "a" else RuntimeError("secret")

    client = TestClient(create_app(Failing()), raise_server_exceptions=False)
    reply = client.post(PATH, json={"queries": [{"item_id": "a"}]})
    assert reply.json()["answers"][0]["error"]["type"] == "unavailable"
    assert client.post(PATH, json={"queries": [{"item_id": "b"}]}).status_code == 500
    assert "secret" not in reply.text
