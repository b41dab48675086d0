"""A property of a night: whatever a log holds, a ranker is learnt of it or it says why not."""

import os
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.lake.tables import EVENTS, ITEMS
from features.log import Log
from ponder.steps.rank import evaluate_rankers
from ranker.config import RankerConfig
from ranker.training import train
from ranker.training_rows import NothingToLearn
from tests.ranker.tables import training_table

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "25"))
TREES = RankerConfig(num_rounds=2, num_members=1)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["r", "s", "t", None, ""]),
        st.sampled_from("uvw"),
        st.sampled_from("abcdefz"),
        st.sampled_from(["impression", "impression", "click", "rating", "skip"]),
        st.sampled_from([-90_000, -1, 0, 0, 1, 2, 70, 90_000]),
    ),
    max_size=30,
)
IDS = list("abcdef")  # z is gone


def log_of(rows):
    events = [
        {"event_id": str(n), "request_id": request, "user_id": user, "item_id": item}
        | {"action": action, "value": 5.0, "ts": NOON + timedelta(minutes=minutes)}
        for n, (request, user, item, action, minutes) in enumerate(rows)
    ]
    items = [
        {"item_id": item, "category": "c", "created_at": NOON, "updated_at": NOON}
        | {"deleted": False, "content_hash": "h"}
        for item in IDS
    ]
    vectors = {
        "item_id": IDS,
        "vector": [[float(n == k) for k in range(6)] for n in range(6)],
        "model_version": "v",
    }
    return Log(
        pl.DataFrame(events, schema=EVENTS.schema),
        pl.DataFrame(items, schema=ITEMS.schema),
        pl.DataFrame(vectors, schema_overrides={"vector": pl.List(pl.Float32)}),
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROWS)
def test_any_log_teaches_a_ranker_or_says_that_it_cannot(rows):
    log = log_of(rows)
    try:
        made = training_table(log)
        ranker = train(made.table, config=TREES)
        report = evaluate_rankers(log, made.table, config=TREES)
    except NothingToLearn:
        return
    assert len(ranker.predict(made.table)) == len(made.table.frame)
    assert report.protocol == made.protocol
