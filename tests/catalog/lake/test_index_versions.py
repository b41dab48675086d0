"""Tests for catalog/lake/index_versions.py: which version is live, and where a rollback leads."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.lake.index_versions import IndexVersions
from catalog.lake.lake import Lake
from catalog.lake.tables import INDEX_VERSIONS


@pytest.fixture
def known(lake):
    return IndexVersions(lake)


def pointers(known):
    return known.live(), known.previous()


def test_the_last_two_switches_are_live_and_previous(known):
    assert pointers(known) == (None, None)
    for version, expected in (
        ("v1", ("v1", None)),
        ("v2", ("v2", "v1")),
        ("v2", ("v2", "v1")),  # again: what a rollback leads to must not be forgotten
        ("v3", ("v3", "v2")),
        ("v2", ("v2", "v3")),
        ("v3", ("v3", "v2")),
    ):
        known.switch_to(version)
        assert pointers(known) == expected


def test_a_retired_version_is_no_goal_of_a_rollback_and_the_live_one_cannot_be_retired(known):
    for version in ("v1", "v2", "v3"):
        known.switch_to(version)
    with pytest.raises(ValueError, match="'v3' is live"):
        known.retire("v3")
    known.retire("v2")
    assert pointers(known) == ("v3", "v1")
    assert known.of("v2").state == "retired"
    known.retire("nobody")
    assert known.of("nobody") is None


def test_a_switch_is_one_commit_and_one_that_changes_nothing_is_none(known, lake):
    known.switch_to("v1")
    before = lake.version(INDEX_VERSIONS)
    known.switch_to("v2")
    known.switch_to("v2")
    assert lake.version(INDEX_VERSIONS) == before + 1


def test_fields_are_changed_and_the_others_stay(known):
    assert known.record("it's", num_items=7, dim=3).vector_bytes == 84
    known.switch_to("it's")
    after = known.record("it's", state="filled")
    assert (after.num_items, after.dim, after.state, after.switch) == (7, 3, "filled", 1)
    assert known.all() == [after]


def test_of_writers_side_by_side_none_is_lost(lake):
    versions = [f"v{n}" for n in range(6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda v: IndexVersions(Lake(lake.uri)).switch_to(v), versions))
    known = IndexVersions(lake)
    assert sorted(each.switch for each in known.all()) == [1, 2, 3, 4, 5, 6]
    assert {each.version for each in known.all()} == set(versions)
