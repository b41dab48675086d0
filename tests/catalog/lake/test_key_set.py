"""Tests for catalog/lake/key_set.py against joins of whole tables."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.lake import key_set
from catalog.lake.key_set import KeySet, repeated_keys

KEY = ["item_id", "content_hash"]
KEYS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz")), max_size=30)


def frame(keys):
    columns = dict.fromkeys(KEY, pl.String)
    return pl.DataFrame(keys, schema=columns, orient="row").with_row_index("row")


@pytest.fixture(autouse=True, scope="module")
def _small_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_set, "BATCH_ROWS", 4)
        yield


@settings(max_examples=40, deadline=None)
@given(KEYS, KEYS)
def test_what_is_present_and_absent_is_what_joins_say(known, asked):
    rows, keys = frame(asked), KeySet.of(frame(known).lazy(), KEY)
    assert len(keys) == len(set(known))
    for found, how in ((keys.present(rows.lazy()), "semi"), (keys.absent(rows.lazy()), "anti")):
        assert found.sort("row").equals(rows.join(frame(known), on=KEY, how=how).sort("row"))


@settings(max_examples=40, deadline=None)
@given(KEYS)
def test_repeated_keys_are_those_that_are_counted_twice(keys):
    found = repeated_keys(frame(keys).lazy(), KEY)
    assert sorted(found.rows()) == sorted({key for key in keys if keys.count(key) > 1})


@settings(max_examples=40, deadline=None)
@given(KEYS, st.lists(st.sampled_from("abcd")))
def test_known_keys_are_counted_once_in_each_group(keys, known):
    ids = pl.DataFrame({"item_id": known}, schema={"item_id": pl.String})
    found = KeySet.of(ids.lazy(), ["item_id"]).counts(frame(keys).lazy(), by="content_hash")
    groups = sorted({group for item_id, group in keys if item_id in known})
    assert found == {
        group: len({i for i, g in keys if g == group and i in known}) for group in groups
    }
