"""Tests of the service under load: queues, deadlines, switches of the version, and its end."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from recall.errors import IndexFailed
from recall.query_encoder import QueryEncoderConfig
from recall.search import Recall
from serving.access_log import VERSION_HEADER
from serving.api_keys import ApiKey, new_key
from serving.app import create_app
from serving.draining import Drain
from tests.index_fixtures import FakeEncoder, KnownHistories

ITEMS = {"rose": [1, 0, 0, 0], "leaf": [0, 1, 0, 0], "sky": [0, 0, 1, 0], "plum": [0.8, 0, 0.6, 0]}
WORDS = ("red", "green", "blue", "red blue", "green green red")


@pytest.fixture(scope="module")
def index(index, rows):
    index.sync("v1", rows(**ITEMS), dim=4)
    index.sync("v2", rows(**{name: vector[::-1] for name, vector in ITEMS.items()}), dim=4)
    index.promote("v1")
    return index


class HeldUp(FakeEncoder):
    """Records its batches, and encodes nothing before it is let."""

    def __init__(self):
        self.batches, self.go = [], threading.Event()

    def encode_query(self, queries, **options):
        assert self.go.wait(20)
        self.batches.append(len(queries))
        return super().encode_query(queries, **options)


def service(index, encoder, **queue):
    recall = Recall(
        index,
        lambda version: encoder,
        KnownHistories({"ann": ["rose"]}),
        queue=QueryEncoderConfig(**queue),
    )
    return recall, TestClient(create_app(recall))


def until(holds):
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def test_queries_of_many_clients_are_read_together_and_answered_as_if_alone(index):
    model = HeldUp()
    recall, client = service(index, model)
    queries = [{"text": WORDS[n % len(WORDS)], "top_k": 3} for n in range(30)]
    with client, ThreadPoolExecutor(30) as many:
        asked = [many.submit(client.post, "/v1/recall", json=query) for query in queries]
        until(lambda: recall.encoder.num_waiting + recall.encoder.num_under_way == 30)
        model.go.set()
        together = [each.result().json()["candidates"] for each in asked]
        alone = [client.post("/v1/recall", json=q).json()["candidates"] for q in queries[:5]]
    assert len(model.batches[:-5]) <= 3
    assert max(model.batches) >= 20
    for number, candidates in enumerate(together):
        expected = alone[number % len(WORDS)]
        assert [c["item_id"] for c in candidates] == [c["item_id"] for c in expected]
        assert [c["score"] for c in candidates] == pytest.approx([c["score"] for c in expected])


class Counting:
    """An index that records how many queries each search has."""

    def __init__(self, index):
        self._index, self.searches = index, []

    def __getattr__(self, name):
        return getattr(self._index, name)

    def search(self, query_vectors_QD, version, **options):
        self.searches.append(len(query_vectors_QD))
        return self._index.search(query_vectors_QD, version, **options)


def test_what_is_encoded_together_is_searched_for_in_few_calls_and_answered_as_if_alone(index):
    model, counting = HeldUp(), Counting(index)
    recall, client = service(counting, model)
    wants = (
        {},
        {"filter": {"exclude_ids": ["rose"]}},
        {"top_k": 1, "explain": True},
        {"deadline_ms": 60_000},
        {"version": "v2"},
        {"mmr_lambda": 0.5},
    )
    queries = [{"text": word, "top_k": 3} | want for want in wants for word in WORDS]
    with client, ThreadPoolExecutor(len(queries)) as many:
        asked = [many.submit(client.post, "/v1/recall", json=query) for query in queries]
        until(lambda: recall.encoder.num_waiting + recall.encoder.num_under_way == len(queries))
        model.go.set()
        together = [each.result().json() for each in asked]
        num_searches = len(counting.searches)
        alone = [client.post("/v1/recall", json=query).json() for query in queries]
    assert sum(counting.searches[:num_searches]) == len(queries)
    assert num_searches <= 0.75 * len(queries)
    assert counting.searches[num_searches:] == [1] * len(queries)
    for each, other in zip(together, alone, strict=True):
        for reply in (each, other):
            del reply["timings"], reply["took_ms"]
        assert each == other


def test_a_search_that_fails_fails_for_all_that_it_was_made_for(index):
    class Failing(Counting):
        def search(self, query_vectors_QD, version, **options):
            raise IndexFailed(message="no answer")

    model = HeldUp()
    recall, client = service(Failing(index), model)
    with client, ThreadPoolExecutor(10) as many:
        asked = [many.submit(client.post, "/v1/recall", json={"text": "red"}) for _ in range(10)]
        until(lambda: recall.encoder.num_waiting + recall.encoder.num_under_way == 10)
        model.go.set()
        assert {each.result().status_code for each in asked} == {503}


def test_a_deadline_holds_while_the_encoder_is_busy_and_items_are_answered_meanwhile(index):
    model = HeldUp()
    recall, client = service(index, model)
    with client, ThreadPoolExecutor(60) as many:
        first = many.submit(client.post, "/v1/recall", json={"text": "red"})
        until(lambda: recall.encoder.num_under_way == 1)
        query = {"text": "red", "deadline_ms": 300}
        started = time.monotonic()
        late = [many.submit(client.post, "/v1/recall", json=query) for _ in range(50)]
        assert client.post("/v1/recall", json={"item_id": "rose"}).status_code == 200
        assert client.get("/healthz").status_code == 200
        replies = [each.result() for each in late]
        assert time.monotonic() - started < 5
        told = {(r.status_code, r.json()["error"]["type"]) for r in replies}
        # A machine that is slow enough to see that the deadline would pass says so at once.
        assert (504, "out_of_time") in told <= {(504, "out_of_time"), (429, "busy")}
        model.go.set()
        assert first.result().status_code == 200
        assert model.batches == [1]  # those that were given up are not read any more


def test_a_full_queue_is_429_with_a_time_to_come_again(index):
    model = HeldUp()
    recall, client = service(index, model, max_waiting=2)
    with client, ThreadPoolExecutor(3) as many:
        asked = [many.submit(client.post, "/v1/recall", json={"text": "red"})]
        until(lambda: recall.encoder.num_under_way == 1)
        asked += [many.submit(client.post, "/v1/recall", json={"text": "red"}) for _ in range(2)]
        until(lambda: recall.encoder.num_waiting == 2)
        refused = client.post("/v1/recall", json={"text": "red"})
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        model.go.set()
        assert {each.result().status_code for each in asked} == {200}


class OfVersion(FakeEncoder):
    """Of v2 the axes are turned around, as its items are."""

    def __init__(self, version):
        self.version = version

    def encode_query(self, queries, **options):
        encodings = super().encode_query(queries, **options)
        turned = slice(None, None, -1 if self.version == "v2" else 1)
        return [replace(one, vector=one.vector[turned].copy()) for one in encodings]


def test_promotions_and_rollbacks_are_followed_without_a_failed_or_mixed_reply(index):
    loading = []

    def encoder_of(version):
        loading.append(version)
        time.sleep(0.1)  # a model takes its time
        return OfVersion(version)

    recall = Recall(index, encoder_of, KnownHistories())
    recall.live.follow()
    stop, seen = threading.Event(), []

    def fire(client):
        while not stop.is_set():
            seen.append(client.post("/v1/recall", json={"text": "red", "top_k": 1}))

    app = create_app(recall, is_followed=True)
    with TestClient(app) as client, ThreadPoolExecutor(4) as many:
        firing = [many.submit(fire, client) for _ in range(4)]
        try:
            for version in ("v2", "v1", "v2", "v1"):
                index.promote(version)
                assert recall.live.follow()
                until(lambda version=version: seen[-1].json().get("version") == version)
        finally:
            stop.set()
        for each in firing:
            each.result()
        told = client.get("/metrics").text
    assert {reply.status_code for reply in seen} == {200}
    assert {reply.headers[VERSION_HEADER] for reply in seen} == {"v1", "v2"}
    for reply in seen:  # a query of one version in the other's items would find something else
        best = reply.json()["candidates"][0]
        assert (best["item_id"], best["score"]) == ("rose", pytest.approx(1.0))
    assert loading == ["v1", "v2"]  # the one before is kept, to go back at once
    assert 'live_version{version="v1"} 1.0' in told
    assert "encoder_batch_size_count" in told


def test_a_version_without_an_encoder_does_not_take_over(index):
    models = {"v1": FakeEncoder()}
    recall = Recall(index, models.__getitem__, KnownHistories())
    recall.live.follow()
    index.promote("v2")
    try:
        with pytest.raises(RuntimeError, match="no encoder for version 'v2'"):
            recall.live.follow()
        with TestClient(create_app(recall)) as client:
            assert client.post("/v1/recall", json={"text": "red"}).json()["version"] == "v1"
        models["v2"] = FakeEncoder()
        assert recall.live.follow()
        assert recall.live.get() == "v2"
    finally:
        index.promote("v1")


def test_a_service_that_ends_refuses_what_is_new_and_finishes_what_it_has(index):
    model, drain = HeldUp(), Drain()
    recall = Recall(index, lambda version: model, KnownHistories())
    with TestClient(create_app(recall, drain=drain)) as client, ThreadPoolExecutor(1) as one:
        asked = one.submit(client.post, "/v1/recall", json={"text": "red"})
        until(lambda: recall.encoder.num_under_way == 1)
        drain.begin()
        refused = client.post("/v1/recall", json={"item_id": "rose"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        model.go.set()
        assert asked.result().status_code == 200


def test_a_key_allows_what_its_scopes_say(index, caplog):
    made = {name: new_key() for name in ("shop", "boss")}
    keys = {
        "shop": ApiKey(made["shop"][1], ("recall",)),
        "boss": ApiKey(made["boss"][1], ("admin", "write", "recommend")),
    }
    recall = Recall(index, lambda version: FakeEncoder(), KnownHistories())
    caplog.set_level(logging.INFO, logger="serving.access_log")
    with TestClient(create_app(recall, keys=keys)) as client:

        def ask(name, method, path, **sent):
            key = made[name][0] if name in made else name
            return client.request(method, path, headers={"authorization": f"Bearer {key}"}, **sent)

        red = {"json": {"text": "red"}}
        assert ask("shop", "POST", "/v1/recall", **red).status_code == 200
        for name in ("", "ponder_guess", made["shop"][1]):  # the digest is no key
            refused = ask(name, "POST", "/v1/recall", **red)
            assert (refused.status_code, refused.json()["error"]["type"]) == (401, "unauthorized")
            assert refused.headers["www-authenticate"] == "Bearer"
        for name, method, path in [
            ("boss", "POST", "/v1/recall"),
            ("boss", "POST", "/v1/recall/batch"),
            ("shop", "POST", "/v1/recommend"),
            ("shop", "PUT", "/v1/items/a"),
            ("shop", "DELETE", "/v1/items/a"),
            ("shop", "GET", "/metrics"),
            ("shop", "GET", "/anything"),
        ]:
            refused = ask(name, method, path)
            assert (refused.status_code, refused.json()["error"]["type"]) == (403, "forbidden")
        assert ask("boss", "GET", "/metrics").status_code == 200
        assert client.get("/healthz").status_code == client.get("/docs").status_code == 200
    lines = [json.loads(r.message) for r in caplog.records if r.name == "serving.access_log"]
    first = lines[0]
    assert (first["method"], first["route"], first["status"]) == ("POST", "/v1/recall", 200)
    assert (first["version"], first["key"]) == ("v1", "shop")
    assert first["ms"] > 0
    assert {line["key"] for line in lines if line["status"] == 401} == {None}
    assert "red" not in "".join(f"{line}" for line in lines).replace("recommend", "")


def test_the_log_has_no_content_and_no_address_that_is_not_a_route(index, caplog):
    caplog.set_level(logging.INFO, logger="serving.access_log")
    recall = Recall(index, lambda version: FakeEncoder(), KnownHistories())
    with TestClient(create_app(recall)) as client:
        client.get("/v1/secret-user?secret-query")
        client.post("/v1/recall", json={"item_id": "secret-item"})
    told = [r.message for r in caplog.records if r.name == "serving.access_log"]
    assert [json.loads(line)["status"] for line in told] == [404, 404]
    assert "secret" not in "".join(told)
