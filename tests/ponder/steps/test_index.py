"""Tests for ponder/steps/index.py: every collection holds what lives in the lake."""

import pytest

from ponder.steps.audit import audit, repair
from ponder.steps.index import index
from ponder.steps.recall import recall
from ponder.steps.validation import validate
from ponder.steps.versions import promote, rollback
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index
from tests.ponder.steps.mugs import MUGS, embed_all, gone, held, land, mugs


def contents(settings):
    """Content hash of each item in the configured version's collection."""
    with open_index(settings) as milvus:
        keys = milvus.keys(configured_version(settings))
        return dict(keys.select("item_id", "content_hash").iter_rows())


def found(settings, **filter):
    asked = {"text": "red mug", "filter": filter, "reasoning": "never"}
    return sorted(each.item_id for each in recall(settings, asked).candidates)


def test_a_catalogue_whose_last_item_was_deleted_ends_empty(live):
    land(live, *gone(*MUGS), second=1)
    synced = index(live)
    assert (synced.upserted, synced.deleted, synced.unchanged) == (0, 4, 0)
    assert validate(live).num_items == 0
    promote(live)
    assert found(live) == []
    assert audit(live).faults == []
    land(live, *mugs(["s1"]), second=2)  # and it fills again
    index(live)
    assert found(live) == ["s1"]


@pytest.mark.usefixtures("served_by_milvus")
def test_an_audit_mends_a_catalogue_whose_last_item_was_deleted(live):
    land(live, *gone(*MUGS), second=1)
    assert [fault.name for fault in audit(live).faults] == ["index_orphaned"]
    assert repair(live, audit(live)) == {"index": 4}
    assert audit(live).faults == []


def test_the_last_deletion_reaches_the_live_version_while_another_has_embedded_nothing(live, other):
    land(live, *gone(*MUGS), second=1)
    synced = index(other)
    assert (synced.deleted, synced.deleted_elsewhere) == (0, 4)
    assert held(live, configured_version(live)) == []


def test_a_deletion_reaches_the_live_version_also_when_the_other_cannot_be_indexed(live, other):
    land(live, *gone("s1"), second=1)
    with pytest.raises(ValueError, match="land and embed first"):
        index(other)
    assert found(live) == ["s0", "s2", "s3"]


@pytest.mark.usefixtures("served_by_milvus")
def test_a_deletion_reaches_a_version_that_is_neither_configured_nor_live(live, other):
    embed_all(other)
    index(other)
    promote(other)
    third = live.replace(policy="always")
    embed_all(third)
    land(live, *gone("s2"), second=1)
    assert {each.where for each in audit(third).faults if each.name == "index_orphaned"} == {
        configured_version(live),
        configured_version(other),
    }
    assert index(third).deleted_elsewhere == 2
    for settings in (live, other, third):
        assert held(settings, configured_version(settings)) == ["s0", "s1", "s3"]


def test_neither_a_promotion_nor_a_rollback_brings_back_what_was_deleted_since_the_last_index(
    live, other
):
    embed_all(other)
    index(other)
    land(live, *gone("s0"), second=1)
    promote(other)
    assert held(other, configured_version(other)) == ["s1", "s2", "s3"]
    land(live, *gone("s3"), second=2)
    rolled_back = rollback(other)
    assert (rolled_back.live, rolled_back.removed) == (configured_version(live), 1)
    assert rolled_back.index_seconds > 0
    assert found(live) == ["s1", "s2"]


def test_an_item_that_is_landed_again_and_a_new_price_reach_the_live_version_too(live, other):
    embed_all(other)
    land(live, *gone("s1"), second=1)
    index(other)
    s1, s2 = mugs(["s1", "s2"])
    land(live, s1, s2 | {"attributes": {"price": 3}}, second=2)
    index(other)
    assert found(live) == MUGS
    assert found(live, attributes={"price": 3}) == ["s2"]


def test_an_edited_item_keeps_its_vector_with_its_present_fields_until_the_new_one_is_there(live):
    before = contents(live)
    edited = {"item_id": "s1", "title": "s1 red mug, dishwasher safe", "attributes": {"price": 5}}
    land(live, edited, second=1)
    index(live)
    assert contents(live) == before
    assert found(live) == MUGS
    assert found(live, attributes={"price": 5}) == ["s1"]
    validation = validate(live)
    assert (validation.missing, validation.stale, validation.awaiting) == (0, 1, 1)
    embed_all(live)
    index(live)
    assert {item for item, content in contents(live).items() if before[item] != content} == {"s1"}
    validation = validate(live)
    assert (validation.missing, validation.stale, validation.awaiting) == (0, 0, 0)


@pytest.mark.parametrize("titles", [("b", "a", "c"), ("a", "b", "c")])
def test_of_several_earlier_contents_the_one_that_was_served_last_stays(live, titles):
    for second, title in enumerate(titles[:2], start=1):
        land(live, {"item_id": "s1", "title": title}, second=second)
        embed_all(live)
        index(live)
    before = contents(live)
    land(live, {"item_id": "s1", "title": titles[2]}, second=3)
    index(live)
    assert contents(live) == before


def test_an_item_edited_and_edited_back_is_as_it_was(live):
    before = contents(live)
    land(live, {"item_id": "s1", "title": "blue"}, second=1)
    embed_all(live)
    index(live)
    land(live, *mugs(["s1"]), second=2)
    index(live)
    assert contents(live) == before
    assert validate(live).stale == 0


def test_every_item_edited_at_once_stays(live):
    land(live, *({"item_id": item_id, "title": "new"} for item_id in MUGS), second=1)
    index(live)
    assert found(live) == MUGS
    assert (validate(live).stale, validate(live).passed) == (4, True)


def test_an_item_edited_before_a_version_has_embedded_it_is_not_in_that_version(live, other):
    embed_all(other)
    land(live, {"item_id": "new", "title": "never embedded"}, second=1)
    index(other)
    assert held(other, configured_version(other)) == MUGS
