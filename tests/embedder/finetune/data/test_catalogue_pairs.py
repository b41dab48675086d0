"""Tests for embedder/finetune/data/catalogue_pairs.py."""

import json

import polars as pl
import pytest

from catalog.lake.tables import ITEMS
from embedder.finetune.data.catalogue_pairs import attribute_pairs, title_image_pairs

ITEM = {"title": "A mug", "category": "kitchen", "attributes": "{}", "image_hash": "x"}


def items(**changes):
    rows = [{"item_id": key, "deleted": False, **ITEM, **row} for key, row in changes.items()]
    return pl.DataFrame(rows, schema=ITEMS.schema)


def test_a_title_asks_for_the_image_alone():
    found = title_image_pairs(items(a={}, b={"title": "a MUG"}))
    columns = ("query_key", "query_text", "target_item", "target_view")
    assert found.select(columns).rows() == [
        ("a mug", "A mug", "a", "image"),
        ("a mug", "a MUG", "b", "image"),
    ]


@pytest.mark.parametrize("shown", ["video_hash", "audio_hash"])
def test_a_title_asks_for_a_clip_or_a_sound_as_well(shown):
    found = title_image_pairs(items(a={"image_hash": None, shown: "x"}, b={"image_hash": None}))
    assert found["target_item"].to_list() == ["a"]


@pytest.mark.parametrize("lack", [{"title": None}, {"title": ""}, {"image_hash": None}])
def test_items_without_title_or_image_and_deleted_ones_are_left_out(lack):
    found = title_image_pairs(items(a=lack, b={}, c={"deleted": True}))
    assert found["target_item"].to_list() == ["b"]


def test_attributes_are_worded_and_equal_words_share_a_key():
    red, blue = ({"attributes": json.dumps({"color": c, "size": 4})} for c in ("Red", "blue"))
    found = attribute_pairs(items(a=red, b=blue, c=red), "{color} {category}, size {size}")
    assert found.select("query_key", "query_text", "target_item").rows() == [
        ("blue kitchen, size 4", "blue kitchen, size 4", "b"),
        ("red kitchen, size 4", "Red kitchen, size 4", "a"),
        ("red kitchen, size 4", "Red kitchen, size 4", "c"),
    ]


@pytest.mark.parametrize(
    "lack",
    [{}, {"attributes": '{"color": " "}'}, {"attributes": '{"color": "red"}', "deleted": True}],
)
def test_items_without_a_worded_value_and_deleted_ones_have_no_query(lack):
    assert attribute_pairs(items(a=lack), "{color}").is_empty()


def test_a_missing_category_is_a_missing_value():
    assert attribute_pairs(items(a={"category": None}), "{category}").is_empty()


def test_braces_in_a_value_are_words():
    found = attribute_pairs(items(a={"attributes": '{"color": "{size}"}'}), "{color}")
    assert found["query_text"].to_list() == ["{size}"]


def test_a_wording_without_names_is_refused():
    with pytest.raises(
        ValueError, match=r"wording must name attributes, e.g. '{color}', got 'red'"
    ):
        attribute_pairs(items(a={}), "red")
