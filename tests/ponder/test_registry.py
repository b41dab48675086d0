"""Tests for ponder/registry.py: versions stay as they are, and the champion is one of them."""

import json
import shutil

import pytest

from embedder.version import SHIPPED, configured_version, read_manifest
from ponder.registry import Registry


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "models")


@pytest.fixture
def version(tmp_path):
    """Makes copies of nano under other names, which are other versions."""

    def make(name):
        folder = tmp_path / name
        shutil.copytree(SHIPPED["nano"], folder)
        manifest = json.loads((folder / "manifest.json").read_text()) | {"name": name}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


def test_a_version_is_registered_under_its_id_and_loads_from_there(registry, version):
    name = registry.add(version("mine"), lineage={})
    assert name == configured_version(registry.model(f"registry:{name}"), "auto")
    assert registry.names() == [name]
    assert registry.model("nano") == "nano"


def test_registering_again_changes_nothing(registry, version):
    folder = version("mine")
    name = registry.add(folder, lineage={"base": "nano"})
    assert registry.add(folder, lineage={"base": "another"}) == name
    assert registry.manifest(name)["lineage"] == {"base": "nano"}


def test_the_lineage_leaves_the_id_and_the_use_of_a_version_alone(registry, version):
    folder = version("mine")
    name = registry.add(folder, lineage={"base": "nano"})
    assert configured_version(str(folder), "auto") == name
    assert read_manifest(registry.folder / name) == read_manifest(folder)


def test_a_copy_that_was_killed_is_no_version_and_is_made_anew(registry, version):
    folder = version("mine")
    name = configured_version(str(folder), "auto")
    torn = registry.folder / f".{name}"
    torn.mkdir(parents=True)
    (torn / "manifest.json").write_text("{}")
    assert registry.names() == []
    assert registry.add(folder, lineage={}) == name
    assert not torn.exists()
    assert registry.manifest(name)["name"] == "mine"


def test_the_champion_is_whoever_was_promoted_last(registry, version):
    one, two = (registry.add(version(name), lineage={}) for name in ("one", "two"))
    assert registry.champion() is None
    assert registry.promote(one) is None
    assert registry.promote(two) == one
    assert registry.path("champion") == registry.folder / two
    assert registry.model("registry:champion") == str(registry.folder / two)


def test_what_is_not_registered_is_named_with_what_is(registry, version):
    with pytest.raises(LookupError, match="no champion yet"):
        registry.model("registry:champion")
    name = registry.add(version("mine"), lineage={})
    with pytest.raises(LookupError, match=f"no version 'other'; registered: {name}"):
        registry.promote("other")
    with pytest.raises(LookupError, match=r"no version '\.\./mine'"):
        registry.path("../mine")
    assert registry.champion() is None
