"""Tests for recall/collection.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall.collection import IndexConfig, collection_name, version_of


@given(st.text(min_size=1, max_size=20))
def test_a_version_can_be_read_back_from_its_collection_name(version):
    name = collection_name("items", version)
    assert version_of("items", name) == version
    assert name.isascii()
    assert name.replace("_", "").isalnum()


@pytest.mark.parametrize("name", ["items", "items_", "items_a-b", "items_a_zz", "other_a"])
def test_a_foreign_collection_is_not_a_version(name):
    assert version_of("items", name) is None


@pytest.mark.parametrize("version", ["", "x" * 300])
def test_a_version_that_gives_no_name_is_refused(version):
    with pytest.raises(ValueError, match="at most 255 characters"):
        collection_name("items", version)


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"index_type": "IVF_PQ"}, "index_type must be one of"),
        ({"alias": "my_items"}, "letters and digits"),
        ({"upsert_bytes": 64 * 2**20}, "48 MiB"),
    ],
)
def test_a_wrong_setting_is_refused(setting, match):
    with pytest.raises(ValueError, match=match):
        IndexConfig(uri="x.db", **setting)
