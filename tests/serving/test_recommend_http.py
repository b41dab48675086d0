"""Tests for /v1/recommend and /v1/rank."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from serving.app import RANKING_THREADS, create_app
from serving.rank import Asker
from tests.serving.clicks import HeldRanker, nothing_saved, recommender, spoilt


def client_of(recall, ranker_of):
    return TestClient(create_app(recall, recommender(recall, ranker_of)))


def test_given_items_are_ranked_over_http(recall, ranker):
    with client_of(recall, lambda version: ranker) as client:
        asked = {"user_id": "u3", "item_ids": ["i01", "i02"], "explain": True}
        reply = client.post("/v1/rank", json=asked).json()
        twice = client.post("/v1/rank", json={"user_id": "u3", "item_ids": ["i01", "i01"]})
    assert [row["rank"] for row in reply["candidates"]] == [1, 2]
    assert all(row["reasons"] and row["recall_score"] is None for row in reply["candidates"])
    assert twice.status_code == 422
    assert "must hold each item once, got 'i01' again" in twice.json()["error"]["message"]


def test_recommendations_come_over_http(recall, ranker):
    with client_of(recall, lambda version: ranker) as client:
        reply = client.post("/v1/recommend", json={"user_id": "u3", "top_k": 3}).json()
        metrics = client.get("/metrics").text
    expected = recommender(recall, lambda version: ranker).recommend(Asker(user_id="u3"), top_k=3)
    took_ms, timings = reply.pop("took_ms"), reply.pop("timings")
    assert {"wait", "history", "search", "log", "features", "rank"} <= timings.keys()
    assert 0 < sum(timings.values()) <= took_ms
    rows = [row | {"reasons": None} for row in expected.frame.to_dicts()]
    assert reply == {"version": "v1", "fallback": "", "candidates": rows}
    assert 'recommend_answers_total{outcome="ok"} 1.0' in metrics
    assert "recommend_seconds_count 1.0" in metrics


RANKINGS = pytest.mark.parametrize(
    ("path", "wanted"), [("/v1/recommend", {"top_k": 3}), ("/v1/rank", {"item_ids": ["i01"]})]
)


@RANKINGS
def test_a_deadline_holds_while_the_ranker_is_at_work(recall, path, wanted):
    held = HeldRanker()
    with client_of(recall, lambda version: held) as client:
        reply = client.post(path, json={"user_id": "u3", **wanted, "deadline_ms": 100})
        held.goes_on.set()
    assert (reply.status_code, reply.json()["error"]["type"]) == (504, "out_of_time")


@RANKINGS
def test_a_deadline_counts_the_wait_for_one_of_the_rankers_threads(recall, path, wanted):
    held, asked = HeldRanker(), {"user_id": "u3", **wanted}
    with client_of(recall, lambda version: held) as client, ThreadPoolExecutor(8) as pool:
        ranked = [pool.submit(client.post, path, json=asked) for _ in range(RANKING_THREADS)]
        held.wait_for(RANKING_THREADS)
        reply = client.post(path, json=asked | {"deadline_ms": 100})
        num_asked = held.num_asked
        held.goes_on.set()
        assert [each.result().status_code for each in ranked] == [200] * RANKING_THREADS
    assert (reply.status_code, reply.json()["error"]["type"]) == (504, "out_of_time")
    assert num_asked == RANKING_THREADS  # it gave up before it had a thread


@pytest.mark.parametrize(
    ("query", "ranker_of", "status", "kind"),
    [
        ({}, nothing_saved, 422, "invalid_request"),
        ({"user_id": "u0", "top_k": 0}, nothing_saved, 422, "invalid_request"),
        ({"user_id": "u0"}, nothing_saved, 503, "unavailable"),
        ({"user_id": "u0"}, spoilt, 409, "ranker_mismatch"),
        ({"user_id": "nobody", "strict": True}, nothing_saved, 404, "not_found"),
        ({"user_id": "u0", "history": ["i01"]}, nothing_saved, 422, "invalid_request"),
    ],
)
def test_why_nothing_is_recommended_is_told_over_http(recall, query, ranker_of, status, kind):
    with client_of(recall, ranker_of) as client:
        reply = client.post("/v1/recommend", json=query)
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)


def test_a_service_without_a_recommender_has_no_such_address(recall):
    with TestClient(create_app(recall)) as client:
        assert client.post("/v1/recommend", json={"user_id": "u0"}).status_code == 404


def test_every_field_is_described_in_openapi(recall, ranker):
    with client_of(recall, lambda version: ranker) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    ours = {
        *("RecallRequest", "RecallReply", "Candidate", "Filter", "Range"),
        *("RecommendRequest", "RecommendReply", "Recommendation"),
    }
    assert ours <= schemas.keys()
    for name in ours:
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("description"), f"{name}.{field}"
    deadline = schemas["RecallRequest"]["properties"]["deadline_ms"]["description"]
    assert deadline.startswith("Reasoning that takes longer gives way to the direct embedding")
