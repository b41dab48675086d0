"""A small bazaar and a deployment that has run on it once, with the model that ships."""

import pytest

from catalog.bazaar.generator import BazaarConfig, write_bazaar
from ponder.settings import Settings
from ponder.steps.embed import embed, plan
from ponder.steps.index import index, promote, validate
from ponder.steps.land import land_folder


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


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", shard_size=25)
