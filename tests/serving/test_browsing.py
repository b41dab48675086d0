"""Tests for serving/browsing.py, over HTTP in the process."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serving.browsing import MAX_ITEMS, add_browsing
from serving.catalogue import Catalogue
from serving.errors import add_error_handlers
from serving.state import State
from tests.serving.shop import HOSTILE, IMAGE_HASH, write_shop


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    lake = write_shop(tmp_path_factory.mktemp("lake"))
    app = FastAPI()
    add_error_handlers(app)
    add_browsing(app, Catalogue(lake), State(lake, lambda: "v1"), wait_s=5)
    with TestClient(app) as opened:
        yield opened


def test_items_are_asked_for_many_at_a_time(client):
    reply = client.get("/v1/items", params={"item_id": ["leaf", "rose", "gone"]}).json()
    assert [item["item_id"] for item in reply["items"]] == ["leaf", "rose"]


def test_no_items_are_none(client):
    assert client.get("/v1/items").json() == {"items": []}


@pytest.mark.parametrize("ids", [["x"] * (MAX_ITEMS + 1), ["x" * 257], [""]])
def test_too_many_items_or_ids_that_are_none_are_refused(client, ids):
    reply = client.get("/v1/items", params={"item_id": ids})
    assert (reply.status_code, reply.json()["error"]["type"]) == (422, "invalid_request")


def test_an_item_leads_to_its_image(client):
    address = client.get("/v1/items/rose").json()["image"]
    reply = client.get(address)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/webp")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in reply.headers["cache-control"]


def test_text_of_an_item_comes_as_it_was_written(client):
    assert client.get("/v1/items/sky").json()["title"] == HOSTILE


@pytest.mark.parametrize("path", ["/v1/items/a%2Fb", "/v1/items/gone", "/v1/images/nowhere"])
def test_what_is_not_there_is_not_found(client, path):
    reply = client.get(path)
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found")


def test_users_catalogue_and_state_are_there(client):
    assert client.get("/v1/users/ann").json()["num_events"] == 4
    assert client.get("/v1/users/a%2Fb").json()["num_events"] == 0
    assert client.get("/v1/catalogue").json()["num_items"] == 3
    assert client.get("/v1/state").json()["versions"][0]["version"] == "v1"


def test_a_reply_is_what_openapi_says(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert IMAGE_HASH not in str(paths)
    for path in ("/v1/items", "/v1/items/{item_id}", "/v1/images/{image_hash}"):
        assert {"200", "422", "500", "503"} <= paths[path]["get"]["responses"].keys()
