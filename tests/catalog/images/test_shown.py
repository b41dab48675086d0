"""Tests for catalog/images/shown.py: what an item shows, and what is said of what cannot be had."""

from datetime import UTC, datetime

import pytest

from catalog.images.image import ImageUnavailable
from catalog.images.shown import Address, addresses_of
from catalog.records import Item, RecordError


def item(**fields):
    return Item(item_id="a", updated_at=datetime(2026, 1, 1, tzinfo=UTC), **fields)


def test_an_item_shows_its_image_its_further_images_in_order_and_its_clip():
    made = item(image_uri="a", image_uris=["c", "b"], video_uri="v")
    found = [(each.uri, each.kind, each.field) for each in addresses_of(made)]
    assert found == [
        ("a", "image", "image_uri"),
        ("c", "image", "image_uris"),
        ("b", "image", "image_uris"),
        ("v", "clip", "video_uri"),
    ]


@pytest.mark.parametrize("made", [item(), item(image_uri="a", video_uri="v", deleted=True)])
def test_an_item_without_media_and_a_tombstone_show_nothing(made):
    assert addresses_of(made) == []


@pytest.mark.parametrize(
    ("uri", "remote"),
    [
        ("http://h/a", True),
        ("HTTPS://h/a", True),
        ("s3://b/a", True),
        ("a.png", False),
        ("data:,", False),
        ("file:///a", False),
    ],
)
def test_an_address_on_the_network_is_remote(uri, remote):
    assert Address(uri, "image", "image_uri").is_remote is remote


def test_what_is_named_twice_is_one_thing_whatever_field_names_it():
    assert Address("a", "image", "image_uri") == Address("a", "image", "image_uris")
    assert Address("a", "image", "image_uri") != Address("a", "clip", "image_uri")


def test_a_reason_names_the_field_and_the_kind_of_thing():
    clip = Address("v", "clip", "video_uri")
    told = clip.told_of(RecordError("media", "the server of image_uri must give the image"))
    assert (told.stage, str(told)) == ("media", "the server of video_uri must give the clip")
    later = clip.told_of(ImageUnavailable("an image must be there"))
    assert isinstance(later, ImageUnavailable)
    assert str(later) == "a clip must be there"


def test_an_address_that_is_none_is_said_of_its_field():
    with pytest.raises(RecordError, match="video_uri must be a URI"):
        _ = Address("http://[", "clip", "video_uri").is_remote
