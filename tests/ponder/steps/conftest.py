"""Deployments that serve four mugs; made once, and copied for each test."""

import json
import shutil
from pathlib import Path

import pytest

import embedder.nano
from ponder.settings import Settings
from ponder.steps.index import index
from ponder.steps.versions import promote
from tests.ponder.steps.exports import four_days
from tests.ponder.steps.mugs import embed_all, land, mugs


@pytest.fixture(scope="session")
def live_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("mugs") / "home"
    settings = Settings(home=home)
    land(settings, *mugs())
    embed_all(settings)
    index(settings)
    promote(settings)
    return home


@pytest.fixture
def live(live_home, tmp_path):
    """A deployment that serves four mugs."""
    return Settings(home=shutil.copytree(live_home, tmp_path / "home"))


@pytest.fixture
def other(live):
    """The same home, with another version configured."""
    return live.replace(policy="never")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Another embedder: the one that ships with another instruction for items."""
    folder = tmp_path_factory.mktemp("models") / "other"
    shutil.copytree(Path(embedder.nano.__file__).parent / "checkpoint", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"name": "other", "item_instruction": "What is this, and who would buy it?"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


@pytest.fixture(scope="session")
def exports_home(tmp_path_factory):
    """The home of a deployment that landed four days of pages, to be copied."""
    home = tmp_path_factory.mktemp("exports") / "home"
    four_days(home)
    return home
