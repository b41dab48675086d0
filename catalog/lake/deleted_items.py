"""What was made of items that have since been deleted, and goes when they have been gone for long.

A tombstone takes an item's words out of `items` at once and, with the next index step, out of
Milvus. Its embeddings and codes stay for a while, because users' histories still name it; its
rationales and dead letters, because the item may come back. The tombstone itself stays for good: it
keeps an older record that is still under way from bringing the item back.
"""

from datetime import datetime, timedelta

import polars as pl

from catalog.lake.dead_letter_kinds import kind_of
from catalog.lake.lake import Lake
from catalog.lake.maintenance import Retention
from catalog.lake.tables import CODES, DEAD_LETTERS, EMBEDDINGS, ITEMS, RATIONALES


def drop_rows_of_deleted(
    lake: Lake,
    retention: Retention,
    *,
    now: datetime,
    item_topic: str = "items",
    event_topic: str = "events",
    dry_run: bool = False,
) -> dict[str, int]:
    """Drop the rows of items that have been deleted for long; return how many, by table.

    A dead letter is an item's if its key names the item. The bytes go at a vacuum, after another
    retention. Events stay: they tell of users.

    Args:
        lake: its tables.
        retention: what was deleted later than so long ago stays.
        now: with a time zone.
        item_topic: Kafka topic of items, to know their dead letters by.
        event_topic: Kafka topic of events.
        dry_run: only counts.
    """
    before = now - timedelta(hours=retention.hours)
    deleted = lake.scan(ITEMS).filter("deleted", pl.col("updated_at") <= before).select("item_id")
    topics = lake.scan(DEAD_LETTERS).select("topic", "stage").unique().collect()
    of_items = [
        topic
        for topic, stage in topics.rows()
        if kind_of(topic, stage, item_topic=item_topic, event_topic=event_topic)
        in ("items", "embed")
    ]
    keys = deleted.select(key=pl.col("item_id").cast(pl.Binary))
    dropped = {}
    for table, rows in (
        (EMBEDDINGS, lake.scan(EMBEDDINGS).join(deleted, on="item_id", how="semi")),
        (CODES, lake.scan(CODES).join(deleted, on="item_id", how="semi")),
        (RATIONALES, lake.scan(RATIONALES).join(deleted, on="item_id", how="semi")),
        (
            DEAD_LETTERS,
            lake.scan(DEAD_LETTERS)
            .filter(pl.col("topic").is_in(of_items))
            .join(keys, on="key", how="semi"),
        ),
    ):
        doomed = rows.select(table.key).collect()
        dropped[table.name] = doomed.height if dry_run else lake.delete(table, doomed)
    return dropped
