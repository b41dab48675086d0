"""Tests for recall/client.py, on a server of the Milvus protocol that never answers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from fastapi.testclient import TestClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2
from pymilvus.grpc_gen.milvus_pb2_grpc import (
    MilvusServiceServicer,
    add_MilvusServiceServicer_to_server,
)

from recall.client import TimedClient, within
from recall.collection import IndexConfig
from recall.errors import IndexFailed
from recall.index import ItemIndex
from recall.search import Recall
from serving.app import create_app
from tests.index_fixtures import KnownHistories

TIMEOUT_S = 0.6


class Frozen(MilvusServiceServicer):
    """Lets clients connect; every other call waits until the test is over."""

    def __init__(self):
        self.thaw = threading.Event()
        for name in dir(MilvusServiceServicer):
            if name[0].isupper() and name != "Connect":
                setattr(self, name, self._wait)

    def Connect(self, request, context):
        return milvus_pb2.ConnectResponse(status=common_pb2.Status(), identifier=1)

    def _wait(self, request, context):
        self.thaw.wait(30)
        context.abort(grpc.StatusCode.UNAVAILABLE, "over")


@pytest.fixture(scope="module")
def frozen():
    """An index whose server has stopped answering."""
    servicer = Frozen()
    with ThreadPoolExecutor(64) as threads:
        server = grpc.server(threads)
        add_MilvusServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        config = IndexConfig(
            uri=f"http://127.0.0.1:{port}", search_timeout_s=TIMEOUT_S, call_timeout_s=TIMEOUT_S
        )
        with ItemIndex.open(config) as index:
            yield index
        servicer.thaw.set()
        server.stop(None).wait()


CALLS = {
    "versions": lambda index: index.versions(),
    "live version": lambda index: index.live_version(),
    "dim": lambda index: index.dim("v1"),
    "count": lambda index: index.count("v1"),
    "vectors": lambda index: index.vectors(["a"], "v1"),
    "keys": lambda index: index.keys("v1"),
    "search": lambda index: index.search(np.ones((1, 2)), "v1", limit=1),
    "promote": lambda index: index.promote("v1"),
    "drop": lambda index: index.drop("v1"),
    "load": lambda index: index._client.load_collection("items_v1"),
    "alter_alias": lambda index: index._client.alter_alias("items_v1", "items"),
    "upsert": lambda index: index._client.upsert("items_v1", [{"item_id": "a"}]),
    "delete": lambda index: index._client.delete("items_v1", filter="true"),
    "flush": lambda index: index._client.flush("items_v1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_every_call_to_a_server_that_does_not_answer_fails_in_time(frozen, call):
    started = time.monotonic()
    with pytest.raises(IndexFailed):
        call(frozen)
    assert time.monotonic() - started < 4 * TIMEOUT_S  # half of it is the machine's own


QUERIES = [{"text": "red"}, {"item_id": "a"}, {"user_id": "ann"}, {"history": ["a", "b"]}]


def test_queries_and_health_are_unavailable_in_time_and_metrics_go_on(frozen, encoder):
    recall = Recall(frozen, lambda version: encoder, KnownHistories({"ann": ["a"]}))
    with TestClient(create_app(recall, wait_s=4 * TIMEOUT_S)) as client:
        with ThreadPoolExecutor(60) as many:
            started = time.monotonic()
            asked = [many.submit(client.post, "/v1/recall", json=QUERIES[n % 4]) for n in range(60)]
            time.sleep(TIMEOUT_S / 4)
            assert client.get("/metrics").status_code == 200
            assert not all(each.done() for each in asked)
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 503
            replies = [each.result() for each in asked]
        assert time.monotonic() - started < 8 * TIMEOUT_S
        assert {reply.status_code for reply in replies} == {503}
        assert {reply.json()["error"]["type"] for reply in replies} == {"unavailable"}


class Recorder:
    """A client that tells how long each call may take."""

    def ask(self, timeout):
        return timeout


def test_the_calls_of_a_block_share_its_time_and_a_nested_block_cannot_have_more():
    client = TimedClient(Recorder(), timeout_s=100, on_failure=list)
    assert client.ask() == 100
    with within(10):
        assert 9 < client.ask() <= 10
        with within(50):
            assert 9 < client.ask() <= 10
        with within(1):
            assert 0 < client.ask() <= 1
        assert client.ask() > 1
    with within(0), pytest.raises(IndexFailed, match="no time was left for ask"):
        client.ask()


def test_an_index_that_lost_its_memory_answers_again_after_one_failure(tmp_path, rows):
    with ItemIndex.open(IndexConfig(uri=str(tmp_path / "x.db"))) as index:
        index.sync("v1", rows(a=[1, 0]), dim=2)
        query = np.ones((1, 2), dtype=np.float32)
        assert index.search(query, "v1", limit=1)["item_id"].to_list() == ["a"]
        index._client.release_collection("items_v1")  # as a server that was started anew
        with pytest.raises(IndexFailed):
            index.search(query, "v1", limit=1)
        assert index.search(query, "v1", limit=1)["item_id"].to_list() == ["a"]
