"""Tests for items with clips and sounds in the steps: in memory only so many at a time."""

import polars as pl

from catalog.lake.tables import ITEMS
from ponder.steps.embed import BLOCK_CLIPS, BLOCK_ITEMS, _blocks


def items(has_clip):
    row = {"tags": [], "deleted": False}
    rows = [
        row
        | {"item_id": f"{n:06d}", "video_hash" if n % 3 else "audio_hash": "v" if shown else None}
        for n, shown in enumerate(has_clip)
    ]
    return pl.DataFrame(rows, schema=ITEMS.schema)


def test_a_block_has_no_more_clips_and_no_more_items_than_it_may():
    patterns = [
        [True] * (2 * BLOCK_CLIPS + 1),
        [False] * (BLOCK_ITEMS + 1),
        [n % 100 == 0 for n in range(2 * BLOCK_ITEMS)],
        [],
    ]
    for has_clip in patterns:
        blocks = list(_blocks(items(has_clip)))
        assert [i for block in blocks for i in block["item_id"]] == items(has_clip)[
            "item_id"
        ].to_list()
        assert all(0 < len(block) <= BLOCK_ITEMS for block in blocks)
        assert all(
            block["video_hash"].count() + block["audio_hash"].count() <= BLOCK_CLIPS
            for block in blocks
        )
    assert [len(block) for block in _blocks(items(patterns[0]))] == [BLOCK_CLIPS, BLOCK_CLIPS, 1]
