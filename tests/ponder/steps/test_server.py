"""A change of the model on a real Milvus server; see `tests/recall/milvus_server.py`."""

import threading
import time

import pytest

from catalog.lake.index_versions import IndexVersions
from ponder.steps.audit import audit
from ponder.steps.index import index
from ponder.steps.reembed import reembed
from ponder.steps.versions import drop, promote, rollback, versions
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake
from tests.ponder.steps.mugs import embed_all, gone, held, land
from tests.ponder.steps.test_reembed import (
    Client,
    Killed,
    Moments,
    at,
    kill_at_random,
    land_meanwhile,
)

pytestmark = pytest.mark.integration


def clean(settings):
    with open_index(settings) as milvus:
        client = milvus._client
        if client.has_collection("items"):
            client.drop_alias("items")
        for name in client.list_collections():
            client.drop_collection(name)


@pytest.fixture
def on_server(live, milvus_uri):
    """The mugs, served by a server."""
    settings = live.replace(milvus=milvus_uri)
    clean(settings)
    index(settings)
    promote(settings)
    yield settings
    clean(settings)


def test_a_version_lives_its_whole_life(on_server, model):
    target = on_server.replace(model=model)
    first, second = configured_version(on_server), configured_version(target)
    reembed(target, on_step=at("catch up", lambda: land_meanwhile(on_server)))
    for version in (first, second):
        assert held(on_server, version) == ["s1", "s2", "s3", "s9"][: 4 if version == second else 3]
    land(on_server, *gone("s2"), second=2)
    assert rollback(on_server).live == first
    assert held(on_server, first) == ["s1", "s3"]
    assert rollback(on_server).live == second
    embed_all(on_server)
    index(on_server)
    assert audit(on_server).faults == []
    drop(on_server, first)
    assert {each.version: each.role for each in versions(on_server)} == {first: "", second: "live"}


def test_killed_again_and_again_while_a_client_asks(on_server, model, monkeypatch):
    target = on_server.replace(model=model)
    deleted, moments, deaths, is_landed = {}, Moments(monkeypatch), 0, threading.Event()

    def meanwhile(step):
        if step == "catch up" and not is_landed.is_set():
            moments.dies_at, number = None, moments.number
            land_meanwhile(on_server)
            moments.number, moments.dies_at = number, deaths + 1
            is_landed.set()
        if step == "validate" and is_landed.is_set():  # it has left every collection by now
            deleted.setdefault("s0", time.monotonic())

    with Client(on_server, deleted) as client:
        while True:
            moments.number, moments.dies_at = 0, deaths + 1
            try:
                reembed(target, on_step=meanwhile)
                break
            except Killed:
                deaths += 1
        time.sleep(1.5)
    assert deaths >= 10
    assert_ended(on_server, target, client)
    assert client.versions == {configured_version(on_server), configured_version(target)}


@pytest.mark.parametrize("seed", range(5))
def test_killed_ten_times_at_random_while_a_client_asks(on_server, model, seed):
    """Real processes and SIGKILL; fifty kills in all."""
    deleted, target = {}, on_server.replace(model=model)
    with Client(on_server, deleted) as client:
        kill_at_random(on_server, model, deleted, seed)
        time.sleep(1.5)
    assert_ended(on_server, target, client)


def assert_ended(on_server, target, client):
    """Everything is as after a run that nobody disturbed."""
    assert client.faults == []
    assert client.replies > 0
    assert IndexVersions(open_lake(on_server)).live() == configured_version(target)
    assert held(on_server, configured_version(target)) == ["s1", "s2", "s3", "s9"]
    assert held(on_server, configured_version(on_server)) == ["s1", "s2", "s3"]
    assert audit(target).faults == []
