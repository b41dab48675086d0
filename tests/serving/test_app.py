"""Tests for serving/app.py, over HTTP in the process, on Milvus Lite."""

import base64
import io
from contextlib import nullcontext

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from catalog.lake.item_lookup import ItemLookup
from embedder.content import Content, Encoding
from recall.search import Recall
from serving.app import create_app
from serving.requests import MAX_TEXT_CHARS
from tests.index_fixtures import FakeEncoder, KnownHistories
from tests.serving.shop import IMAGE_HASH, write_shop

JSON = {"content-type": "application/json"}
ITEMS = {"rose": [1, 0, 0, 0], "leaf": [0, 1, 0, 0], "sky": [0, 0, 1, 0], "plum": [0.8, 0, 0.6, 0]}


@pytest.fixture(scope="module")
def recall(index, rows, encoder):
    index.sync("v1", rows(**ITEMS), dim=4)
    index.promote("v1")
    return Recall(index, lambda version: encoder, KnownHistories({"ann": ["rose"]}))


@pytest.fixture(scope="module")
def client(recall):
    with TestClient(create_app(recall)) as opened:
        yield opened


def image(width=2, height=2, *, mode="RGB") -> str:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def ids(reply) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [candidate["item_id"] for candidate in reply.json()["candidates"]]


def test_a_text_query_is_answered_in_full(client):
    query = {"text": "red", "top_k": 2, "reasoning": "always"}
    reply = client.post("/v1/recall", json=query).json()
    took_ms, timings = reply.pop("took_ms"), reply.pop("timings")
    stages = ["wait", "content", "version", "prepare", "queue", "encode", "search"]
    assert list(timings) == stages
    assert 0 < sum(timings.values()) <= took_ms + 0.01  # each is rounded
    scores = [candidate.pop("score") for candidate in reply["candidates"]]
    assert scores == pytest.approx([1.0, 0.8], abs=1e-6)
    nothing = dict.fromkeys(
        [
            *("fused_score", "channels", "interest", "title", "category"),
            *("image", "clip", "audio", "image_uri"),
        ]
    )
    assert reply == {
        "version": "v1",
        "index": "milvus_flat",
        "consistency": "strong",
        "candidates": [
            {"item_id": "rose", "rank": 1} | nothing,
            {"item_id": "plum", "rank": 2} | nothing,
        ],
        "action": "reason",
        "gate_probability": None,
        "rationale": "",
        "reasoning_fallback": "",
        "cut_short": False,
        "fallback": "",
        "interests": [],
        "hints": [],
    }


def test_how_an_answer_came_about_is_explained_when_asked(client):
    query = {"text": "red", "top_k": 1, "reasoning": "always", "max_new_tokens": 3}
    reply = client.post("/v1/recall", json=query | {"explain": True}).json()
    assert (reply["gate_probability"], reply["rationale"]) == (0.5, "bec")
    assert reply["candidates"][0]["channels"] == ["content"]
    query = {"history": ["rose", "sky"], "interests": 2, "explain": True, "top_k": 1}
    reply = client.post("/v1/recall", json=query).json()
    assert reply["gate_probability"] is None
    weights = {one["item_id"]: one["weight"] for one in reply["interests"]}
    share = 1 / (1 + 0.5**0.1)  # an item ten places newer weighs twice as much
    assert weights == pytest.approx({"rose": share, "sky": 1 - share})
    assert (
        reply["candidates"][0] | {"item_id": "plum", "interest": "rose"} == (reply["candidates"][0])
    )


def test_what_candidates_are_is_told_when_asked(recall, tmp_path):
    lake = write_shop(tmp_path / "lake")
    with TestClient(create_app(recall, items=ItemLookup(lake))) as shop:
        query = {"text": "red", "details": True, "top_k": 2}
        rose, plum = shop.post("/v1/recall", json=query).json()["candidates"]
    assert (rose["title"], rose["category"]) == ("a rose", "garden")
    assert rose["image"] == f"/v1/images/{IMAGE_HASH}"
    assert (plum["title"], plum["image"]) == (None, None)  # the index has it, the lake does not


def test_a_cold_user_gets_a_fallback_and_a_strict_query_none(client):
    reply = client.post("/v1/recall", json={"user_id": "eve"}).json()
    assert reply["fallback"].startswith("user 'eve' has no history of likes")
    assert reply["candidates"] == []  # nothing is popular here
    assert client.post("/v1/recall", json={"user_id": "eve", "strict": True}).status_code == 404


@pytest.mark.parametrize(("deadline_ms", "action"), [(500, "direct"), (5_000, "reason")])
def test_a_deadline_that_reasoning_would_miss_is_kept_and_the_reply_says_so(
    client, deadline_ms, action
):
    query = {"text": "red", "reasoning": "always", "deadline_ms": deadline_ms}
    reply = client.post("/v1/recall", json=query).json()
    assert reply["action"] == action
    assert bool(reply["reasoning_fallback"]) == reply["cut_short"] == (action == "direct")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"image_base64": image()}, ["sky", "plum"]),
        ({"text": "red red", "image_base64": image()}, ["plum", "rose"]),
        ({"item_id": "rose"}, ["plum", "leaf"]),
        ({"user_id": "ann"}, ["plum", "leaf"]),
        ({"history": ["sky"]}, ["plum", "leaf"]),
        ({"history": ["sky"], "exclude_seen": "none"}, ["sky", "plum"]),
        ({"text": "red", "filter": {"exclude_ids": ["rose"]}}, ["plum", "leaf"]),
        ({"text": "red", "filter": {"created_after": "1970-01-03T00:00:00Z"}}, ["plum", "sky"]),
    ],
)
def test_every_kind_of_query_is_answered(client, query, expected):
    assert ids(client.post("/v1/recall", json=query | {"top_k": 2})) == expected


@pytest.mark.parametrize(
    ("query", "status", "kind", "words"),
    [
        ({}, 422, "invalid_request", "exactly one of"),
        ({"text": "red", "item_id": "rose"}, 422, "invalid_request", "exactly one of"),
        ({"text": "red", "top_k": 1001}, 422, "invalid_request", "less than or equal to 1000"),
        ({"text": "x" * (MAX_TEXT_CHARS + 1)}, 422, "invalid_request", "at most 8000"),
        ({"text": "red", "limit": 3}, 422, "invalid_request", "limit"),
        ({"text": "red", "filter": {"colour": "red"}}, 422, "invalid_request", "filter.colour"),
        ({"text": "pink"}, 422, "invalid_query", "unknown words"),
        ({"image_base64": "%%%"}, 422, "invalid_query", "must be base64"),
        ({"image_base64": "aGVsbG8="}, 422, "invalid_query", "must be a whole PNG"),
        ({"text": "red", "version": "v9"}, 404, "not_found", "'v9' is not in the index"),
        ({"item_id": "gone"}, 404, "not_found", "item 'gone'"),
        ({"user_id": "eve", "strict": True}, 404, "not_found", "user 'eve'"),
        ({"text": "red", "details": True}, 422, "invalid_query", "details must be left out"),
        ({"image_url": "http://x/"}, 422, "invalid_query", "image_url must be left out"),
    ],
)
def test_a_wrong_query_is_refused_in_words(client, query, status, kind, words):
    reply = client.post("/v1/recall", json=query)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert error["type"] == kind
    assert words in error["message"]


def test_what_is_not_json_is_refused_without_sending_it_back(client):
    reply = client.post("/v1/recall", content=b"{secret", headers=JSON)
    assert reply.status_code == 422
    assert reply.json()["error"]["type"] == "invalid_request"
    assert "secret" not in reply.text


@pytest.mark.parametrize(
    "query",
    [
        b'{"text": "\\ud800"}',
        b'{"item_id": "\\ud800"}',
        b'{"history": ["\\ud800"]}',
        b'{"text": "red", "filter": {"category_in": ["\\ud800"]}}',
        b'{"text": "red", "filter": {"attributes": {"\\ud800": 1}}}',
    ],
)
def test_half_a_character_is_refused(client, query):
    assert client.post("/v1/recall", content=query, headers=JSON).status_code == 422


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(client):
    bomb = image(8_000, 6_000, mode="1")  # 48 megapixels in some kilobytes
    reply = client.post("/v1/recall", json={"image_base64": bomb})
    assert reply.status_code == 422
    assert "got 8000 x 6000" in reply.json()["error"]["message"]


def test_a_large_body_is_refused_however_it_is_sent(recall):
    with TestClient(create_app(recall, max_body_bytes=100)) as small:
        chunks = (b" " * 30 for _ in range(4))
        for body in (b" " * 101, chunks):
            reply = small.post("/v1/recall", content=body)
            assert reply.status_code == 413
            assert reply.json()["error"]["message"] == "a request must have at most 100 bytes"
        assert ids(small.post("/v1/recall", json={"text": "red", "top_k": 1})) == ["rose"]


def test_readiness_makes_a_search_names_the_version_and_counts_its_rows(recall):
    searched = []

    class Watched:
        def __getattr__(self, name):
            return getattr(recall.index, name)

        def search(self, query_vectors_QD, version, **options):
            searched.append(version)
            return recall.index.search(query_vectors_QD, version, **options)

    class AnyWords(FakeEncoder):
        def encode_query(self, queries, **options):
            return super().encode_query([Content("red")] * len(queries), **options)

    watched = Recall(Watched(), lambda version: AnyWords(), KnownHistories())
    with TestClient(create_app(watched)) as client:
        reply = client.get("/readyz").json()
    assert (reply["version"], reply["rows"]) == ("v1", 4)
    assert searched == ["v1"]


def test_without_a_live_version_queries_are_unavailable_and_the_service_is_not_ready(recall):
    class Dark:
        def request(self):
            return nullcontext()

        def live_version(self):
            return None

    dark = Recall(Dark(), lambda version: None, KnownHistories({"ann": ["rose"]}))
    with TestClient(create_app(dark)) as opened:
        for reply in (
            opened.get("/readyz"),
            opened.post("/v1/recall", json={"text": "red"}),
            opened.post("/v1/recall", json={"user_id": "ann"}),
        ):
            assert reply.status_code == 503
            assert reply.json()["error"]["type"] == "unavailable"
        assert opened.get("/healthz").json()["status"] == "ok"  # to start anew would not help


def test_an_encoder_of_another_dim_makes_the_service_unready_and_says_what_to_do(recall):
    class Longer(FakeEncoder):
        def encode_query(self, queries, **options):
            one = Encoding(np.ones(6, np.float32), "direct", 0.5)
            return [one] * len(queries)

    other = Recall(recall.index, lambda version: Longer(), KnownHistories({"ann": ["rose"]}))
    with TestClient(create_app(other)) as client:
        for reply in (
            client.get("/readyz"),
            client.post("/v1/recall", json={"text": "red"}),
            client.post("/v1/recall", json={"text": "red", "max_similarity": 0.9}),
        ):
            assert reply.status_code == 503
            error = reply.json()["error"]
            assert error["type"] == "unavailable"
            assert "'v1' that are searched have dim 4, but its encoder gives" in error["message"]
            assert "under a version of its own" in error["message"]
        queries = {"queries": [{"text": "red"}, {"item_id": "rose"}]}
        batch = client.post("/v1/recall/batch", json=queries).json()
        assert client.post("/v1/recall", json={"item_id": "rose"}).status_code == 200
        assert client.post("/v1/recall", json={"user_id": "ann"}).status_code == 200
    errors = [each["error"] and each["error"]["type"] for each in batch["answers"]]
    assert errors == ["unavailable", None]


def test_an_unforeseen_error_is_a_json_answer_that_gives_nothing_away(recall):
    class Failing:
        def of(self, user_id):
            raise RuntimeError("password=hunter2")

    broken = Recall(recall.index, lambda version: None, Failing())
    with TestClient(create_app(broken), raise_server_exceptions=False) as opened:
        reply = opened.post("/v1/recall", json={"user_id": "ann"})
        assert reply.status_code == 500
        assert reply.json()["error"]["type"] == "internal"
        assert "hunter2" not in reply.text
        assert 'kind="user",outcome="error"} 1.0' in opened.get("/metrics").text


def test_metrics_count_each_app_by_itself(recall):
    with TestClient(create_app(recall)) as fresh:
        fresh.post("/v1/recall", json={"item_id": "rose"})
        fresh.post("/v1/recall", json={"item_id": "gone"})
        text = fresh.get("/metrics").text
    assert 'recall_answers_total{kind="item",outcome="ok"} 1.0' in text
    assert 'recall_answers_total{kind="item",outcome="not_found"} 1.0' in text
    assert 'recall_seconds_count{action="none",kind="item"} 1.0' in text
