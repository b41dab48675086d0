"""A small bazaar and a deployment that has run on it once, with the model that ships."""

import json

import pytest

from catalog.bazaar.generator import BazaarConfig, write_bazaar
from ponder.settings import Settings
from ponder.steps.embed import embed, plan
from ponder.steps.index import index
from ponder.steps.land import land_folder
from ponder.steps.validation import validate
from ponder.steps.versions import promote


@pytest.fixture(scope="session")
def bazaar(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bazaar")
    config = BazaarConfig(
        num_items=60, num_users=15, num_weeks=2, requests_per_user=4, num_queries=12
    )
    write_bazaar(folder, config)
    return folder


def run_night(settings, folder):
    """Every step up to promotion, as the CLI and the nightly DAG call them."""
    landed = land_folder(settings, folder)
    embedded = [embed(settings, shard) for shard in plan(settings).shards]
    synced = index(settings)
    validate(settings)
    promote(settings)
    return landed, sum(done.embedded for done in embedded), synced


@pytest.fixture(scope="session")
def night():
    return run_night


@pytest.fixture(scope="session")
def night_home(bazaar, tmp_path_factory):
    """The home of a deployment after one night, to be copied."""
    home = tmp_path_factory.mktemp("night") / "home"
    run_night(Settings(home=home, shard_size=25), bazaar)
    return home


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", shard_size=25)


@pytest.fixture(scope="session")
def shop_home(tmp_path_factory):
    """The home of a shop: three mugs and a hose, live, and a user who likes one of them."""
    folder, home = tmp_path_factory.mktemp("shop"), tmp_path_factory.mktemp("shop_home")
    titles = {"m1": "a red mug", "m2": "a blue mug", "m3": "a green mug", "h1": "a garden hose"}
    at = "2026-03-01T10:00:00Z"
    items = [
        {"item_id": i, "title": t, "updated_at": at, "attributes": {"price": n}}
        for n, (i, t) in enumerate(titles.items())
    ]
    events = [
        {"event_id": "1", "user_id": "ann", "item_id": "m1", "action": "like", "ts": at},
        {"event_id": "2", "user_id": "ann", "item_id": "m2", "action": "skip", "ts": at},
    ]
    for name, rows in (("items", items), ("events", events)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_night(Settings(home=home), folder)
    return home


@pytest.fixture
def served_by_milvus(monkeypatch):
    """Milvus Lite in place of a server, which it is for an audit: what answers queries."""
    monkeypatch.setattr(Settings, "is_embedded", False)
