"""Last digits: no two items of the same codes share one, and none ever changes."""

from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from catalog.lake.item_codes import (
    codebooks_in_use,
    codes_in_use,
    codes_of,
    embeddings_without_codes,
    put_codebooks_in_use,
    put_codes,
    with_digits,
)
from catalog.lake.lake import Lake
from catalog.lake.tables import CODES, EMBEDDINGS

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def rows(*told):
    """Rows to be written, of `item content codes` each."""
    parts = [each.split() for each in told]
    columns = {
        "item_id": [item for item, _, _ in parts],
        "content_hash": [content for _, content, _ in parts],
        "codes": [[int(code) for code in codes.split("-")] for _, _, codes in parts],
    }
    return pl.DataFrame(columns, schema_overrides={"codes": pl.List(pl.Int32)})


def given_out(lake, codes_id="c"):
    found = codes_of(lake, codes_id).sort("item_id", "content_hash").collect()
    return [f"{i} {h} {'-'.join(map(str, c))}+{d}" for i, h, _, _, c, d in found.rows()]


def put(lake, *told, codes_id="c"):
    return put_codes(lake, rows(*told), version="v", codes_id=codes_id)


def test_items_of_the_same_codes_are_numbered_in_order_of_their_ids(tmp_path):
    lake = Lake(str(tmp_path))
    assert put(lake, "b h 1-2", "a h 1-2", "c h 1-3") == 3
    assert given_out(lake) == ["a h 1-2+0", "b h 1-2+1", "c h 1-3+0"]


def test_who_comes_later_takes_the_next_digit_and_nobody_loses_theirs(tmp_path):
    lake = Lake(str(tmp_path))
    put(lake, "m h 1-2", "n h 1-2")
    assert put(lake, "a h 1-2", "m h 1-2") == 1  # m has its codes already
    assert given_out(lake) == ["a h 1-2+2", "m h 1-2+0", "n h 1-2+1"]


def test_a_new_content_under_the_same_codes_keeps_the_digit_and_under_others_takes_one(tmp_path):
    lake = Lake(str(tmp_path))
    put(lake, "a h1 1-2", "b h1 1-2", "z h1 4-4")
    put(lake, "b h2 1-2", "a h2 4-4")
    assert given_out(lake) == [
        *("a h1 1-2+0", "a h2 4-4+1", "b h1 1-2+1", "b h2 1-2+1", "z h1 4-4+0"),
    ]


def test_other_codebooks_number_anew(tmp_path):
    lake = Lake(str(tmp_path))
    put(lake, "a h 1-2", "b h 1-2")
    put(lake, "b h 1-2", codes_id="d")
    assert given_out(lake, "d") == ["b h 1-2+0"]


NIGHTS = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 3)), max_size=8),
    max_size=5,
)


@given(NIGHTS)
def test_codes_and_digit_name_one_item_and_what_was_given_stays(nights):
    stored = pl.DataFrame(
        schema={"item_id": pl.Int64, "content": pl.Int64, "name": pl.Int64, "digit": pl.Int32}
    )
    coded = {}  # an item's content has one vector, and so always the same codes
    for night in nights:
        told = {(item, content): coded.setdefault((item, content), name)
                for item, content, name in night}  # fmt: skip
        columns = ["item_id", "content", "name"]
        told_rows = [(item, content, name) for (item, content), name in told.items()]
        schema = dict.fromkeys(columns, pl.Int64)
        new = pl.DataFrame(told_rows, schema=schema, orient="row")
        new = new.join(stored, on=["item_id", "content"], how="anti")
        before = stored
        stored = pl.concat([stored, with_digits(new, stored).select(stored.columns)])
        assert stored.head(len(before)).equals(before)
    owners = stored.group_by("name", "digit").agg(pl.col("item_id").n_unique())
    assert owners["item_id"].max() in (None, 1)
    assert stored["digit"].null_count() == 0


def test_the_codebooks_put_in_use_last_are_in_use(tmp_path):
    lake = Lake(str(tmp_path))
    assert codebooks_in_use(lake, "v") is None
    for version, codes_id in (("v", "one"), ("w", "other"), ("v", "two")):
        put_codebooks_in_use(lake, version, codes_id, config="{}", measured='{"a": 1}', at=NOW)
    assert codes_in_use(lake, "v") == "two"
    assert codebooks_in_use(lake, "w") == {
        "codes_id": "other", "config": "{}", "measured": '{"a": 1}'
    }  # fmt: skip


def test_only_what_was_not_coded_is_read(tmp_path):
    lake = Lake(str(tmp_path))
    made = [("a", "h1", "v"), ("a", "h2", "v"), ("b", "h1", "v"), ("b", "h1", "w")]
    embeddings = pl.DataFrame(
        [(item, content, version, [1.0, 0.0], "direct", 0.0, 0) for item, content, version in made],
        schema=EMBEDDINGS.schema,
        orient="row",
    )
    lake.insert_new(EMBEDDINGS, embeddings)
    left = embeddings_without_codes(lake, "v", "c").sort("item_id", "content_hash").collect()
    assert left.select("item_id", "content_hash").rows() == [("a", "h1"), ("a", "h2"), ("b", "h1")]
    put(lake, "a h1 1", "b h1 1")
    left = embeddings_without_codes(lake, "v", "c").collect()
    assert left.rows() == [("a", "h2", [1.0, 0.0])]
    assert CODES.name in lake.versions()
