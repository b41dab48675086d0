"""Tests for serving/errors.py: every address and status tells of an error in one form."""

import json
import logging

import pytest
from fastapi.testclient import TestClient
from pymilvus.exceptions import ParamError

from recall.errors import Busy, IndexFailed, InvalidQuery, NotFound, OutOfTime, Unavailable
from serving.app import create_app
from serving.errors import MAX_FIELDS, RankerMismatch
from serving.faults import Faults


class Unreachable:
    """A recall that no request of these tests gets to."""

    def __getattr__(self, name):
        raise AssertionError(name)


class Failing:
    """A recall, and the live version of one, that raises what it is given."""

    def __init__(self, error):
        self.error = error
        self.live = self

    def by_item(self, item_id, options, stages):
        raise self.error

    def probe(self):
        raise self.error


def ask(method="POST", path="/v1/recall", *, recall=None, **sent):
    app = create_app(recall or Unreachable(), Unreachable())
    client = TestClient(app, raise_server_exceptions=False)
    return client.request(method, path, **sent)


def is_error(reply, status, kind):
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (status, kind), reply.text[:300]
    assert list(reply.json()) == ["error"]
    assert error["message"]
    assert set(error) <= {"type", "message", "fields"}
    return error["message"]


DEEP = b"[" * 100_000 + b"]" * 100_000
BODIES = {
    "cut off": b'{"text": "mug"',
    "nothing": b"",
    "null": b"null",
    "a number": b"7",
    "text": b'"mug"',
    "a list": b'[{"text": "mug"}]',
    "latin-1": '{"text": "café"}'.encode("latin-1"),
    "no text at all": bytes(range(256)),
    "deep at the top": DEEP,
    "deep in an object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep within a filter": b'{"text": "mug", "filter": {"attributes": {"a": ' + DEEP + b"}}}",
    "a long integer": b'{"history": ["a"], "deadline_ms": -' + b"1" * 10_000 + b"}",
    "a long float": b'{"text": "mug", "top_k": 1' + b"0" * 400 + b".5}",
    "infinity": b'{"text": "mug", "top_k": Infinity}',
    "not a number": b'{"text": "mug", "filter": {"attributes": {"a": {"min": NaN}}}}',
    "half a character as a name": b'{"text": "mug", "\\ud83d": 1}',
    "half a character in a filter's name": b'{"text": "mug", "filter": {"\\udc00": 1}}',
    "half a character in a history": b'{"history": ["a", "\\ud800"]}',
    "form data": b"text=mug&top_k=3",
}


@pytest.mark.parametrize("path", ["/v1/recall", "/v1/recommend"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_a_body_that_is_no_request_is_refused(path, body, content_type, caplog):
    headers = {} if content_type is None else {"content-type": content_type}
    reply = ask("POST", path, content=body, headers=headers)
    if content_type == "application/json":
        is_error(reply, 422, "invalid_request")
    else:
        is_error(reply, 415, "unsupported_media_type")
    assert len(reply.content) < 20_000
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/recalls", 404, "not_found"),
        ("POST", "/v2/recall", 404, "not_found"),
        ("GET", "/v1/recall", 405, "method_not_allowed"),
        ("PUT", "/v1/recommend", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
        ("POST", "/metrics", 405, "method_not_allowed"),
        ("POST", "/openapi.json", 405, "method_not_allowed"),
        ("GET", "/%ff%fe", 404, "not_found"),
    ],
)
def test_an_address_or_a_method_that_is_not_there_is_told_in_the_same_form(
    method, path, status, kind
):
    reply = ask(method, path)
    is_error(reply, status, kind)
    assert ("allow" in reply.headers) == (status == 405)


def test_ten_thousand_wrong_fields_give_a_short_answer():
    names = {f"x{n}": n for n in range(10_000)}
    reply = ask(json={"text": "mug"} | names)
    assert is_error(reply, 422, "invalid_request").endswith(f"and {10_000 - MAX_FIELDS} more")
    assert len(reply.json()["error"]["fields"]) == MAX_FIELDS
    assert len(ask(json={"text": "mug", "y" * 1_000_000: 1}).content) < 1_000


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (NotFound("item 'a' is not there"), 404, "not_found"),
        (InvalidQuery("no"), 422, "invalid_query"),
        (RankerMismatch("no"), 409, "ranker_mismatch"),
        (Busy("no"), 429, "busy"),
        (OutOfTime("no"), 504, "out_of_time"),
        (Unavailable("no"), 503, "unavailable"),
        (IndexFailed(message="secret"), 503, "unavailable"),
        (ParamError(message="secret"), 503, "unavailable"),
        (RuntimeError("secret"), 500, "internal"),
    ],
)
def test_what_goes_wrong_inside_has_the_same_form_and_is_counted(error, status, kind):
    client = TestClient(create_app(Failing(error)), raise_server_exceptions=False)
    reply = client.post("/v1/recall", json={"item_id": "a"})
    is_error(reply, status, kind)
    is_error(client.get("/readyz"), status, kind)
    assert "secret" not in reply.text
    assert ("retry-after" in reply.headers) == (status == 429)
    outcome = "error" if kind == "internal" else kind
    assert f'kind="item",outcome="{outcome}"}} 1.0' in client.get("/metrics").text


def test_the_same_fault_is_told_in_full_once_a_minute(caplog):
    now = [0.0]

    async def app(scope, receive, send):
        raise RuntimeError("the cause")

    client = TestClient(Faults(app, now=lambda: now[0]))
    for moment in (0, 1, 59, 61):
        now[0] = moment
        is_error(client.post("/v1/recall"), 500, "internal")
    told = [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"]
    assert told == [True, False, False, True]
    assert "RuntimeError in" in caplog.records[1].getMessage()
    assert "the cause" not in caplog.records[1].getMessage()


def test_a_body_that_is_no_json_is_told_where_it_ends(caplog):
    reply = ask(content="{bad", headers={"content-type": "application/json"})
    is_error(reply, 422, "invalid_request")
    assert reply.json()["error"]["message"] == (
        "body: must be JSON, which ends at character 1: Expecting property name enclosed in double "
        "quotes"
    )


def test_openapi_documents_the_form_of_every_error():
    api = create_app(Unreachable(), Unreachable()).openapi()
    form = {"$ref": "#/components/schemas/ErrorReply"}
    told = {
        (path, status): answer["content"]["application/json"]["schema"]
        for path, methods in api["paths"].items()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if status != "200"
    }
    assert all(schema == form for schema in told.values())
    assert {("/v1/recall", s) for s in ("404", "413", "422", "503")} <= set(told)
    assert ("/v1/recommend", "409") in told
    assert "HTTPValidationError" not in json.dumps(api)
