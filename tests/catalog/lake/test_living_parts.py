"""Tests for catalog/lake/living_parts.py: ranges of ids together are the whole, and bounded."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.living_parts import living_parts
from catalog.lake.tables import EMBEDDINGS, ITEMS

START = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = pl.DataFrame(schema={"item_id": pl.String, "content_hash": pl.String})


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """300 items in three files; every fifth is deleted, every seventh edited, 3 not embedded."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    rng = np.random.default_rng(0)
    for ids in np.split(rng.permutation(300), 3):
        rows = [
            {
                "item_id": f"i{n:03d}'é",
                "category": f"c{n % 2}",
                "tags": [],
                "attributes": "{}",
                "created_at": START,
                "updated_at": START + timedelta(seconds=int(n)),
                "deleted": n % 5 == 0,
                "content_hash": f"h{n}" + ("-new" if n % 7 == 0 else ""),
            }
            for n in ids
        ]
        lake.upsert_items(pl.DataFrame(rows, schema=ITEMS.schema))
        embedded = [
            {
                "item_id": f"i{n:03d}'é",
                "content_hash": f"h{n}{edition}",
                "model_version": version,
                "vector": [float(n), float(len(edition))],
            }
            for n in ids
            if n > 2
            for version in ("v1", "v2")
            for edition in ("", "-old")
        ]
        lake.insert_new(EMBEDDINGS, pl.DataFrame(embedded, schema=EMBEDDINGS.schema))
    return lake


def expected(held=()):
    """By item: content_hash, vector, and whether it is an earlier content."""
    rows = []
    for n in range(3, 300):
        if n % 5:
            edition = "" if n % 7 else "" if f"h{n}" in held else "-old"
            rows.append((f"i{n:03d}'é", f"h{n}{edition}", [n, len(edition)], n % 7 == 0))
    return rows


def read(parts):
    columns = ("item_id", "content_hash", "vector", "awaits_embedding")
    return [row for part in parts for row in part.rows.select(columns).iter_rows()]


@pytest.mark.parametrize("part_rows", [7, 50, 1_000])
def test_the_parts_are_the_whole_in_order_of_id(lake, part_rows):
    parts = list(
        living_parts(
            lake, "v1", columns=["category"], held_of=lambda ids: NOTHING, part_rows=part_rows
        )
    )
    assert read(parts) == expected()
    assert all(set(part.rows["category"]) <= {"c0", "c1"} for part in parts)
    assert max(len(part.rows) for part in parts) <= 2.5 * part_rows
    assert len(parts) >= 240 / part_rows / 2


def test_the_ranges_cover_every_id_once(lake):
    asked = []

    def held_of(ids):
        asked.append(ids)
        return NOTHING

    parts = list(living_parts(lake, "v1", columns=[], held_of=held_of, part_rows=40))
    assert [part.ids for part in parts] == asked
    assert asked[0].begin == ""
    assert asked[-1].end is None
    assert [one.end for one in asked[:-1]] == [one.begin for one in asked[1:]]
    for part in parts:
        assert part.ids.begin <= part.rows["item_id"].min()
        assert part.ids.end is None or part.rows["item_id"].max() < part.ids.end


@pytest.mark.parametrize("part_rows", [40, 1_000])
def test_of_several_earlier_contents_the_held_one_is_kept(lake, part_rows):
    held = pl.DataFrame({"item_id": ["i007'é", "i014'é"], "content_hash": ["h7", "h14"]})

    def held_of(ids):
        end = pl.lit(True) if ids.end is None else pl.col("item_id") < ids.end
        return held.filter(pl.col("item_id") >= ids.begin, end)

    parts = living_parts(lake, "v1", columns=[], held_of=held_of, part_rows=part_rows)
    assert read(parts) == expected(held=("h7", "h14"))


def test_a_version_that_embedded_nothing_has_parts_without_rows(lake):
    parts = list(living_parts(lake, "v3", columns=[], held_of=lambda ids: NOTHING, part_rows=40))
    assert len(parts) > 1
    assert read(parts) == []


def test_an_empty_lake_is_one_empty_part(tmp_path):
    [part] = living_parts(Lake(str(tmp_path)), "v1", columns=[], held_of=lambda ids: NOTHING)
    assert part.rows.is_empty()
