"""What tests of exports do with a catalogue of fourteen items and four days of pages."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from catalog.ingest.rows import item_frame
from catalog.lake.tables import EMBEDDINGS, EVENTS
from catalog.records import Item
from ponder.settings import Settings
from ponder.steps import features as steps
from ponder.steps.features import (
    export_features,
)
from ponder.wiring.stores import open_lake

MORNING = datetime(2026, 3, 1, 6, tzinfo=UTC)
NUM_ITEMS, NUM_DAYS = 14, 4
HOUR = timedelta(hours=1)
RNG_SEED = 0


def item(n, *, updated_at=MORNING - 24 * HOUR, category=None, title=None, **fields):
    fields |= {"attributes": {"price": 1.5 * n}, "category": category or f"c{n % 3}"}
    return Item(item_id=f"i{n}", updated_at=updated_at, title=title or f"item {n}", **fields)


def event(n, user, item_id, action, ts, request=None):
    return {
        "event_id": f"e{n}",
        "request_id": request,
        "user_id": user,
        "item_id": item_id,
        "action": action,
        "ts": ts,
    }


def pages(day):
    """Three pages of a day, five items each; the first is liked half an hour later."""
    rng = np.random.default_rng([RNG_SEED, day])
    rows = []
    for hour in range(3):
        user, ts = f"u{hour % 2}", MORNING + timedelta(days=day, hours=4 * hour)
        for place, n in enumerate(rng.choice(NUM_ITEMS, 5, replace=False)):
            number = f"{day}-{hour}-{place}"
            given = (user, f"i{n}")
            rows.append(event(number, *given, "impression", ts, f"r{day}-{hour}"))
            if place == 0:
                liked = event(f"{number}-like", *given, "like", ts + HOUR / 2, f"r{day}-{hour}")
                rows.append(liked)
    return rows


def land_events(lake, rows, landed_at):
    lake.upsert_events(pl.DataFrame(rows, schema=EVENTS.schema), landed_at=landed_at)


def embed(lake, version="v"):
    """A vector for every content that the lake holds, of nothing but its hash and the version."""
    items = lake.scan(steps.ITEMS).filter(~pl.col("deleted")).select("item_id", "content_hash")
    rows = items.collect()
    vectors = [
        np.random.default_rng([int(digest[:8], 16), len(version)]).normal(size=8).tolist()
        for digest in rows["content_hash"]
    ]
    made = rows.with_columns(vector=pl.Series(vectors), model_version=pl.lit(version))
    others = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in EMBEDDINGS.schema.items()
        if name not in made.columns
    ]
    columns = EMBEDDINGS.schema
    lake.insert_new(EMBEDDINGS, made.with_columns(others).select(columns.names()).cast(columns))


def export(settings, folder, **options):
    return export_features(settings, version="v", folder=folder, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def change_the_present(lake):
    """Delete, edit, and land late what happened before: a month later."""
    later = MORNING + timedelta(days=30)
    gone = Item(item_id="i1", updated_at=later, deleted=True)
    edited = item(2, updated_at=later, category="another", title="other words")
    stale = item(3, updated_at=MORNING - 48 * HOUR, category="older", title="older words")
    lake.upsert_items(item_frame([gone, edited, stale], [None] * 3), landed_at=later)
    embed(lake)
    happened = MORNING + timedelta(days=1, hours=1)
    unliked = next(row for row in pages(0)[::-1] if row["action"] == "impression")
    late = [
        event("late1", "u0", "i4", "like", happened),
        event("late2", "u1", "i5", "impression", happened, "a page of its own"),
        unliked | {"event_id": "late3", "action": "like"},
        event("late4", "nobody before", "i7", "purchase", happened),
    ]
    land_events(lake, late, later)


def four_days(home):
    """A deployment whose every day landed on the evening of the day."""
    settings = Settings(home=home)
    lake = open_lake(settings)
    frame = item_frame([item(n) for n in range(NUM_ITEMS)], [None] * NUM_ITEMS)
    lake.upsert_items(frame, landed_at=MORNING - HOUR)
    embed(lake)
    for day in range(NUM_DAYS):
        land_events(lake, pages(day), MORNING + timedelta(days=day, hours=16))
    return settings
