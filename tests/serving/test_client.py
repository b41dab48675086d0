"""Tests for serving/client.py: over a scripted transport, and in front of the service itself."""

import asyncio
import inspect
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from recall.filters import Filter
from recall.search import Recall
from serving.app import create_app
from serving.catalogue import Catalogue
from serving.client import AsyncClient, Client, ServiceError, Unreachable
from serving.client_requests import RecallQuery, RecommendQuery
from serving.client_retries import Patience
from serving.requests import RankRequest, RecallRequest, RecommendRequest
from serving.state import State
from tests.index_fixtures import KnownHistories
from tests.serving.running import running
from tests.serving.shop import IMAGE, write_shop

VECTORS = {"rose": [1, 0, 0, 0], "leaf": [0, 1, 0, 0], "sky": [0.8, 0, 0.6, 0]}
REPLY = {
    "version": "v1",
    "index": "exact",
    "consistency": "strong",
    "candidates": [],
    "action": None,
    "reasoning_fallback": "",
    "cut_short": False,
    "fallback": "",
    "hints": [],
    "timings": {},
}
BUSY = {"error": {"type": "too_many_requests", "message": "try again later"}}
ROOT = Path(__file__).resolve().parent.parent.parent


def refused(status, *, retry_after=None):
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return httpx2.Response(status, json=BUSY, headers=headers)


def found():
    return httpx2.Response(200, json=REPLY | {"took_ms": 1.0})


class Script:
    """A transport that answers, or fails, as it is told; it remembers what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked, self.slept = list(answers), [], []
        self.transport = httpx2.MockTransport(self.answer)

    def answer(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options):
        options = {"transport": self.transport, "sleep": self.slept.append} | options
        return Client("http://ponder", **options)


class Waiting:
    """Runs the coroutines of an `AsyncClient`, so that one test tells of both clients."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        call = getattr(self._client, name)
        return lambda *args, **options: asyncio.run(call(*args, **options))


def clients(script, **options):
    yield script.client(**options)
    options |= {"transport": script.transport}
    yield Waiting(AsyncClient("http://ponder", **options))


def test_a_query_is_sent_as_the_service_takes_it():
    script = Script(found(), found())
    for client in clients(script, api_key="k1"):
        kitchen = Filter(category_in=("a",))
        client.recall(text="red", image=b"GIF", video=b"GIF", audio=b"GIF", filter=kitchen, top_k=3)
    for request in script.asked:
        assert (request.method, request.url.path) == ("POST", "/v1/recall")
        assert request.headers["authorization"] == "Bearer k1"
        body = json.loads(request.content)
        assert body.pop("filter")["category_in"] == ["a"]
        files = {f"{name}_base64": "R0lG" for name in ("image", "video", "audio")}
        assert body == {"text": "red", "top_k": 3} | files
        RecallRequest.model_validate_json(request.content)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_when_it_says(status):
    script = Script(refused(status, retry_after="2"), refused(status, retry_after="3"), found())
    assert script.client().recall(text="red").version == "v1"
    assert script.slept == [2.0, 3.0]


def test_an_async_client_asks_again_too():
    script = Script(refused(429, retry_after="0"), httpx2.ConnectError("refused"), found())
    client = AsyncClient(
        "http://ponder", transport=script.transport, patience=Patience(first_pause_s=0)
    )
    assert asyncio.run(client.recall(text="red")).version == "v1"
    assert len(script.asked) == 3


def test_what_cannot_be_in_time_is_told_at_once():
    script = Script(refused(503, retry_after="60"))
    with pytest.raises(ServiceError, match="503 too_many_requests: try again later"):
        script.client(patience=Patience(deadline_s=30)).recall(text="red")
    assert script.slept == []


def test_a_call_is_tried_as_often_as_it_may_be():
    script = Script(*[refused(503) for _ in range(3)])
    with pytest.raises(ServiceError):
        script.client(patience=Patience(max_tries=3)).recall(text="red")
    assert (len(script.asked), len(script.slept)) == (3, 2)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422, 500, 504])
def test_what_is_refused_for_good_is_asked_once(status):
    for number in (0, 1):
        script = Script(refused(status))
        client = list(clients(script))[number]
        with pytest.raises(ServiceError) as caught:
            client.recall(text="red")
        assert (caught.value.status, caught.value.type) == (status, "too_many_requests")
        assert len(script.asked) == 1


def test_a_connection_that_breaks_is_not_tried_again_but_one_that_is_refused_is():
    broken = Script(httpx2.ReadError("gone"))
    with pytest.raises(Unreachable, match="gone"):
        broken.client().recall(text="red")
    refusing = Script(httpx2.ConnectError("no one there"), found())
    assert refusing.client().recall(text="red").version == "v1"


def test_items_are_ranked_for_a_user_or_a_history():
    reply = {"version": "v1", "candidates": [], "took_ms": 1.0}
    script = Script(httpx2.Response(200, json=reply), httpx2.Response(200, json=reply))
    client = script.client()
    client.rank(["a", "b"], user_id="ann")
    client.rank(["a"], history=["c"], explain=True)
    assert [json.loads(request.content) for request in script.asked] == [
        {"item_ids": ["a", "b"], "user_id": "ann", "explain": False},
        {"item_ids": ["a"], "history": ["c"], "explain": True},
    ]
    for request in script.asked:
        RankRequest.model_validate_json(request.content)


def test_an_answer_that_is_none_of_the_services_is_told_as_it_is():
    script = Script(httpx2.Response(502, text="<h1>Bad Gateway</h1>"))
    with pytest.raises(ServiceError, match="502 unknown: <h1>Bad Gateway</h1>"):
        script.client().state()


def test_an_answer_that_trickles_ends_with_the_deadline():
    def trickle():
        while True:
            time.sleep(0.05)
            yield b" "

    script = Script(httpx2.Response(200, content=trickle()))
    started = time.monotonic()
    with pytest.raises(Unreachable, match="deadline"):
        script.client(patience=Patience(deadline_s=0.3)).recall(text="red")
    assert time.monotonic() - started < 5


def test_no_address_but_an_images_is_sent_the_key():
    script = Script()
    with pytest.raises(ValueError, match="begin with '/v1/images/'"):
        script.client(api_key="secret").image("http://elsewhere/v1/images/x")
    with pytest.raises(ValueError, match="must be an item's clip"):
        script.client(api_key="secret").clip("/v1/images/x")
    with pytest.raises(ValueError, match="must be an item's sound"):
        script.client(api_key="secret").audio("/v1/images/x")


def test_an_id_cannot_leave_its_place_in_the_address():
    script = Script(refused(404))
    with pytest.raises(ServiceError):
        script.client().item("../users/ann?x=1#y")
    assert script.asked[0].url.raw_path == b"/v1/items/..%2Fusers%2Fann%3Fx%3D1%23y"


def test_both_clients_have_the_same_calls():
    def calls(kind):
        return {
            name: (str(inspect.signature(method)), inspect.getdoc(method))
            for name, method in vars(kind).items()
            if not name.startswith("_")
        }

    assert calls(Client) == calls(AsyncClient)


def test_a_query_has_every_field_that_the_service_takes():
    sent = RecallQuery.__annotations__.keys() - {"image", "video", "audio"}
    assert sent == RecallRequest.model_fields.keys()
    fields = RecommendRequest.model_fields.keys() - {"user_id"}
    assert RecommendQuery.__annotations__.keys() == fields


def test_a_client_needs_neither_a_web_framework_nor_a_model():
    heavy = ["fastapi", "starlette", "torch", "pymilvus", "polars", "lightgbm", "deltalake"]
    program = f"import sys, serving.client; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def app(index, rows, encoder, tmp_path_factory):
    lake = write_shop(tmp_path_factory.mktemp("lake"))
    index.sync("v1", rows(**VECTORS), dim=4)
    index.promote("v1")
    recall = Recall(index, lambda version: encoder, KnownHistories({"ann": ["rose"]}))
    return create_app(recall, catalogue=Catalogue(lake), state=State(lake, recall.live.get))


@pytest.fixture(scope="module")
def address(app):
    with running(app) as listening:
        yield listening


def test_every_route_of_the_service_has_a_call(app):
    asked = set()

    def answer(request):
        asked.add((request.method, re.sub(r"/(x|user)$", "/{}", request.url.path)))
        return httpx2.Response(418)

    client = Client("http://ponder", transport=httpx2.MockTransport(answer))
    for name in vars(Client):
        if not name.startswith("_") and name != "close":
            arguments = {
                "items": [["x"]],
                "rank": [["x"]],
                "recall_batch": [[{"text": "x"}]],
                "put_item": ["x", {}],
                "image": ["/v1/images/x"],
                "clip": ["/v1/clips/x"],
                "audio": ["/v1/audio/x"],
            }.get(name, ["x"])
            takes = inspect.signature(getattr(client, name)).parameters.values()
            positional = [p for p in takes if p.kind is p.POSITIONAL_OR_KEYWORD]
            with pytest.raises(ServiceError):
                getattr(client, name)(*arguments[: len(positional)])
    routes = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    assert routes - asked == {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    }  # asked by whoever watches the process
    # Not in this app, which has no ranker and takes no changes.
    ranked = {("POST", "/v1/recommend"), ("POST", "/v1/rank")}
    assert asked - routes == ranked | {("PUT", "/v1/items/{}"), ("DELETE", "/v1/items/{}")}


def test_the_service_answers_a_client(address):
    with Client(address) as client:
        reply = client.recall(text="red", top_k=2, reasoning="always", explain=True)
        assert [candidate.item_id for candidate in reply.candidates] == ["rose", "sky"]
        assert (reply.version, reply.rationale) == ("v1", "because")
        both = client.recall_batch([{"image": IMAGE, "top_k": 1}, {"item_id": "gone"}]).answers
        assert both[0].reply.candidates[0].item_id == "sky"
        assert both[1].error.type == "not_found"
        assert client.recall(image=IMAGE, top_k=1).candidates[0].item_id == "sky"
        assert client.item("leaf").attributes == {"price": 3, "brand": "acme"}
        assert client.image(client.item("rose").image)[8:12] == b"WEBP"
        assert client.user("ann").num_events == 4
        assert client.state().live == "v1"
        with pytest.raises(ServiceError) as caught:
            client.recall(text="red", top_k=0)
        assert caught.value.type == "invalid_request"
        assert caught.value.fields[0]["field"] == "body.top_k"


def test_the_service_answers_an_async_client_many_queries_at_once(address):
    async def ask():
        async with AsyncClient(address) as client:
            texts = ("red", "green", "red blue")
            return await asyncio.gather(*(client.recall(text=text, top_k=1) for text in texts))

    found = [reply.candidates[0].item_id for reply in asyncio.run(ask())]
    assert found == ["rose", "leaf", "sky"]


def examples():
    page = (ROOT / "docs" / "serving.md").read_text()
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_the_examples_of_the_docs_run(address):
    assert len(examples()) >= 2
    for example in examples():
        exec(example.replace("http://127.0.0.1:8000", address), {})
