"""Tests for serving/catalogue.py, on a lake written by hand."""

import io

import pytest
from PIL import Image

from catalog.lake.lake import Lake
from recall.errors import NotFound
from serving.catalogue import Catalogue
from tests.serving.shop import HOSTILE, IMAGE, IMAGE_HASH, write_shop


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    return Catalogue(write_shop(tmp_path_factory.mktemp("lake")))


def test_items_come_in_the_order_asked_for_each_once_and_never_a_deleted_one(catalogue):
    asked = ["sky", "nowhere", "rose", "gone", "sky"]
    assert [item.item_id for item in catalogue.items(asked)] == ["sky", "rose"]


def test_an_item_is_told_in_full(catalogue):
    leaf, rose = catalogue.item("leaf"), catalogue.item("rose")
    assert (leaf.title, leaf.category, leaf.tags) == ("a leaf", "garden", ["new"])
    assert (leaf.attributes, leaf.image) == ({"price": 3, "brand": "acme"}, None)
    assert rose.image == f"/v1/images/{IMAGE_HASH}"


@pytest.mark.parametrize("item_id", ["gone", "nowhere"])
def test_an_item_that_is_deleted_or_was_never_there_is_not_found(catalogue, item_id):
    with pytest.raises(NotFound, match=item_id):
        catalogue.item(item_id)


def test_an_image_is_made_small_and_anew(catalogue):
    small = catalogue.image(IMAGE_HASH)
    with Image.open(io.BytesIO(small)) as opened:
        assert (opened.format, opened.size) == ("WEBP", (320, 160))
    assert IMAGE[:64] not in small


def test_an_image_that_was_not_landed_is_not_found(catalogue):
    with pytest.raises(NotFound, match="was not landed"):
        catalogue.image("0" * 64)


def test_a_user_is_what_they_liked_newest_first_without_what_is_deleted(catalogue):
    ann = catalogue.user("ann")
    assert (ann.num_events, ann.last_event_at.hour) == (4, 4)
    assert [item.item_id for item in ann.liked] == ["rose", "leaf"]


def test_a_stranger_did_nothing(catalogue):
    eve = catalogue.user("eve")
    assert (eve.num_events, eve.last_event_at, eve.liked) == (0, None, [])


def test_the_overview_counts_what_lives_most_frequent_first(catalogue):
    overview = catalogue.overview()
    assert overview.num_items == 3
    assert [item.item_id for item in overview.newest] == ["sky", "leaf", "rose"]
    counted = [(each.value, each.num_items) for each in overview.categories]
    assert counted == [("garden", 2), (HOSTILE, 1)]
    assert [(each.value, each.num_items) for each in overview.tags] == [("new", 2), ("cut", 1)]
    assert overview.attributes == ["brand", "price"]
    assert [(user.user_id, user.num_events) for user in overview.users] == [("ann", 3), ("bob", 1)]


def test_a_lake_that_nobody_wrote_to_is_an_empty_catalogue(tmp_path):
    overview = Catalogue(Lake(str(tmp_path))).overview()
    assert (overview.num_items, overview.newest, overview.users) == (0, [], [])
