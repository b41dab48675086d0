"""Tests for the service's OpenAPI: what it promises holds for whatever is sent; no reply is a 5xx.

`TEST_EXAMPLES=500 pytest tests/serving/test_openapi.py` sends more.
"""

import json
import os
from datetime import UTC, datetime
from html.parser import HTMLParser

import polars as pl
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from catalog.lake.item_lookup import ItemLookup
from recall.catalogue_store import CatalogueStore
from recall.search import Recall
from serving.app import create_app
from serving.catalogue import Catalogue
from serving.errors import InvalidItem
from serving.rank import RANKED, Ranked
from serving.recommend import Recommender
from serving.reference import reference_page
from serving.replies import ItemChangeReply
from serving.state import State
from tests.index_fixtures import KnownHistories
from tests.serving.shop import write_shop

NUM_EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "10"))
VECTORS = {"rose": [1, 0, 0, 0], "leaf": [0, 1, 0, 0], "sky": [0.8, 0, 0.6, 0]}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class AnyWords:
    """Reads any text; a word that it does not know is `grey`."""

    def __init__(self, encoder):
        self._encoder = encoder

    def encode_query(self, queries, **options):
        known = [type(query)("grey", query.image) for query in queries]
        return self._encoder.encode_query(known, **options)


class Writer:
    """Takes what is an object, and says so."""

    def put(self, item_id, body):
        try:
            assert isinstance(json.loads(body), dict)
        except (ValueError, AssertionError) as error:
            raise InvalidItem("not an object") from error
        return self.delete(item_id)

    def delete(self, item_id):
        return ItemChangeReply(
            item_id=item_id,
            outcome="deleted",
            updated_at=datetime.now(UTC),
            searchable=True,
            version=None,
            message="",
        )


class ById:
    """Ranks by id."""

    def rank(
        self,
        asker,
        item_ids,
        version,
        *,
        new_only=False,
        explain=False,
        num_shown=None,
        stages=None,
    ):
        rows = {"item_id": sorted(item_ids), "score": 1.0, "rank": range(1, len(item_ids) + 1)}
        frame = pl.DataFrame(rows, schema=RANKED) if item_ids else pl.DataFrame(schema=RANKED)
        return Ranked(frame, [{"match_max": 0.5}] * len(item_ids) if explain else [])


@pytest.fixture(scope="module")
def app(index, rows, encoder, tmp_path_factory):
    lake = write_shop(tmp_path_factory.mktemp("lake"))
    index.sync("v1", rows(**VECTORS), dim=4)
    index.promote("v1")
    store = CatalogueStore(lake)
    store.refresh()
    histories = KnownHistories({"ann": ["rose"]}, popular=["leaf"])
    recall = Recall(index, lambda version: AnyWords(encoder), histories, catalogue=store)
    return create_app(
        recall,
        Recommender(recall, ById()),
        catalogue=Catalogue(lake),
        state=State(lake, recall.live.get),
        items=ItemLookup(lake),
        writer=Writer(),
    )


@pytest.fixture(scope="module")
def api(app):
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def is_documented(operation):
    """Send whatever the OpenAPI allows to one address, and some of what it does not."""

    @settings(
        max_examples=NUM_EXAMPLES,
        deadline=None,
        derandomize="TEST_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.one_of(
            operation.as_strategy(),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        )
    )
    def check(case):
        case.call_and_validate(checks=CHECKS)

    check()


def test_every_reply_to_whatever_is_sent_is_documented(api):
    operations = [result.ok() for result in api.get_all_operations()]
    assert len(operations) == 17
    for operation in operations:
        is_documented(operation)


def fields(schemas):
    for name, form in schemas.items():
        for field, described in form.get("properties", {}).items():
            yield f"{name}.{field}", described


def test_every_form_and_field_and_address_is_described(app):
    api = app.openapi()
    schemas = api["components"]["schemas"]
    undescribed = [name for name, field in fields(schemas) if not field.get("description")]
    # Of these the names say it all.
    allowed = {"ErrorReply.error", "ItemsReply.items", "ValueCount.value", "ValueCount.num_items"}
    assert set(undescribed) <= allowed
    assert [name for name, form in schemas.items() if not form.get("description")] == []
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], f"{method} {path}"


def test_every_status_of_a_query_is_documented(app):
    replies = app.openapi()["paths"]["/v1/recall"]["post"]["responses"]
    expected = (200, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504)
    assert sorted(map(int, replies)) == sorted(expected)


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_forgotten_content_type_is_told(app, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    client = TestClient(app)
    reply = client.post("/v1/recall", content=b'{"text": "red"}', headers=headers)
    assert (reply.status_code, reply.json()["error"]["type"]) == (415, "unsupported_media_type")
    got = content_type or "none"
    assert f"`content-type: application/json`, got {got}" in reply.json()["error"]["message"]
    charset = {"content-type": "application/json; charset=utf-8"}
    assert client.post("/v1/recall", content=b'{"text": "red"}', headers=charset).is_success


class Links(HTMLParser):
    """What a page links to, loads, and can be linked to; and its text."""

    def __init__(self, page):
        super().__init__()
        self.links, self.ids, self.tags, self.text = [], [], set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "src", "action") if name in given]

    def handle_data(self, data):
        self.text += data


def test_the_reference_is_a_page_that_loads_nothing_and_links_to_itself(app):
    reply = TestClient(app).get("/docs")
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    page = Links(reply.text)
    assert not page.tags & {"script", "link", "img", "iframe", "form"}
    assert "/openapi.json" in page.links
    inside = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_reference_has_every_address_field_and_example(app):
    api = app.openapi()
    page = Links(reference_page(api))
    for path in api["paths"]:
        assert path in page.text
    for name, field in fields(api["components"]["schemas"]):
        assert name.partition(".")[2] in page.text
        assert field.get("description", "").replace("`", "") in page.text
    assert "Items for a user, by three interests" in page.text
    assert "at most 8000 characters" in page.text


def test_what_an_openapi_says_becomes_text_and_no_html():
    hostile = "<script>alert(1)</script>"
    operation = {"description": hostile, "responses": {"200": {"description": hostile}}}
    page = Links(
        reference_page({"info": {"title": hostile}, "paths": {f"/{hostile}": {"get": operation}}})
    )
    assert "script" not in page.tags
