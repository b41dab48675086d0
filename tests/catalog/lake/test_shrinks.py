"""Tests for catalog/lake/shrinks.py: what another hand took away is found, Ponder's own is not."""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from catalog.ingest.rows import item_frame
from catalog.lake.deleted_items import drop_rows_of_deleted
from catalog.lake.duplicates import merge_duplicates
from catalog.lake.maintenance import Retention, compact, history, vacuum
from catalog.lake.shrinks import accept_shrinks, lost_tables, unexplained_shrinks
from catalog.lake.tables import EMBEDDINGS, ITEM_VERSIONS, ITEMS, MEDIA
from catalog.records import Item

START = datetime(2026, 1, 1, tzinfo=UTC)


def items(*item_ids, deleted=False):
    made = [Item(item_id=item_id, updated_at=START, deleted=deleted) for item_id in item_ids]
    return item_frame(made, [None] * len(made))


def embeddings(*item_ids):
    rows = pl.DataFrame({"item_id": item_ids, "content_hash": item_ids, "model_version": "v"})
    return pl.concat([EMBEDDINGS.empty(), rows], how="diagonal_relaxed")


@pytest.fixture
def four(lake):
    """Four items, landed by two commits."""
    lake.upsert_items(items("a", "b"))
    lake.upsert_items(items("c", "d"))
    return lake


def shrinks(lake, table=ITEMS):
    return [
        (each.operation, each.rows_before, each.rows_after)
        for each in unexplained_shrinks(lake, table)
    ]


def test_a_table_that_is_not_there_has_lost_nothing(lake):
    assert shrinks(lake) == []
    assert lost_tables(lake) == {}


def test_deletes_and_whole_overwrites_are_found_newest_first_with_what_they_took(four):
    four.delta(ITEMS).delete("item_id = 'a'")
    four.upsert_items(items("e"))
    write_deltalake(f"{four.uri}/items", items("z"), mode="overwrite")
    assert shrinks(four) == [("WRITE", 4, 1), ("DELETE", 4, 3)]
    assert [each.num_lost for each in unexplained_shrinks(four, ITEMS)] == [3, 1]


def test_an_overwrite_that_loses_nothing_is_none(four):
    write_deltalake(f"{four.uri}/items", four.read(ITEMS), mode="overwrite")
    assert shrinks(four) == []


def test_what_ponder_takes_away_itself_is_none(four):
    four.insert_new(EMBEDDINGS, embeddings("a", "b", "c"))
    four.delete(EMBEDDINGS, embeddings("c").select(EMBEDDINGS.key))
    four.upsert_items(items("a", deleted=True))
    drop_rows_of_deleted(four, Retention(hours=0, force=True), now=datetime.now(UTC))
    write_deltalake(f"{four.uri}/items", items("b"), mode="append")
    merge_duplicates(four, ITEMS)
    compact(four)
    vacuum(four, Retention(hours=0, force=True))
    assert four.read(EMBEDDINGS)["item_id"].to_list() == ["b"]
    assert shrinks(four) == shrinks(four, EMBEDDINGS) == []


@pytest.mark.parametrize("by_moment", [False, True])
def test_what_a_restore_undid_is_forgotten_and_what_came_before_or_after_is_not(four, by_moment):
    four.delta(ITEMS).delete("item_id = 'a'")
    sound = datetime.now(UTC) if by_moment else four.version(ITEMS)
    time.sleep(0.02)  # commits are dated by their files, whose clock lags some milliseconds
    four.delta(ITEMS).delete("true")
    four.delta(ITEMS).restore(sound)
    assert shrinks(four) == [("DELETE", 4, 3)]
    four.delta(ITEMS).delete("item_id = 'b'")
    assert shrinks(four) == [("DELETE", 3, 2), ("DELETE", 4, 3)]


def test_what_was_accepted_is_found_no_more_and_says_why(four):
    four.delta(ITEMS).delete("item_id = 'a'")
    accept_shrinks(four, ITEMS, reason="asked for by its owner")
    assert shrinks(four) == []
    assert history(four, ITEMS, limit=1)[0].origin == "asked for by its owner"
    four.delta(ITEMS).delete("item_id = 'b'")
    assert shrinks(four) == [("DELETE", 3, 2)]


@pytest.mark.parametrize(("table", "reason"), [(ITEMS, " "), (MEDIA, "none was ever here")])
def test_without_a_reason_or_a_table_nothing_is_accepted(four, table, reason):
    with pytest.raises(ValueError, match="a reason is given"):
        accept_shrinks(four, table, reason=reason)


def test_a_commit_whose_past_is_gone_is_passed_over(four):
    four.delta(ITEMS).delete("item_id = 'a'")
    delta = four.delta(ITEMS)
    delta.create_checkpoint()
    for number in range(3):
        Path(f"{four.uri}/items/_delta_log/{number:020}.json").unlink()
    assert shrinks(four) == []


def test_a_table_that_is_gone_while_others_were_made_from_it_is_lost(four):
    four.insert_new(EMBEDDINGS, embeddings("a"))
    shutil.rmtree(f"{four.uri}/items")
    assert lost_tables(four) == {"items": (ITEM_VERSIONS.name, EMBEDDINGS.name)}
