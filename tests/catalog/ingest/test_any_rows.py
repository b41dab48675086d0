"""Rows as the world writes them, landed and compared with a slow reading of docs/data.md.

Nothing is lost: every record is a row, part of a newer row, or a dead letter as it came. Nothing is
invented: every row is what one of its records says. And the tables are those of the good records
alone, so that a bad one never changes what happens to the others. `TEST_EXAMPLES=1000` tries more.
"""

import json
import math
import os
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.ingest.landing import land
from catalog.ingest.source import open_source
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "80"))
BOM = b"\xef\xbb\xbf"
START = datetime(2026, 3, 1, 10, tzinfo=UTC)
ABSENT = object()
ACTIONS = {"impression", "click", "like", "purchase", "skip", "rating", "view"}

# Clocks that are right, a little and very much ahead, behind, and before 1970.
moments = st.sampled_from([0, 1, 2, 20, -5_000, 2_400_000_000, -1_900_000_000]).map(
    lambda seconds: START + timedelta(seconds=seconds)
)
zones = st.sampled_from([0, 60, 330, -210, 840]).map(lambda m: timezone(timedelta(minutes=m)))
odd_times = st.sampled_from(
    ["2026-03-01T10:00:00", "2026-03-01", "yesterday", 1_772_000_000, None, ABSENT]
)
times = st.one_of(moments, moments, moments, moments, odd_times)


def ids(*good):
    return st.sampled_from([*good, *good, *good, "", "x" * 257, "a\nb"])


items = st.fixed_dictionaries(
    {
        "item_id": ids("a", "b", "001", "1") | st.sampled_from([7, None, ABSENT]),
        "updated_at": times,
        "title": st.sampled_from(
            ["red", "blue", "", None, ABSENT, "x" * 100_000, "x" * 100_001, 7]
        ),
        "tags": st.sampled_from([["x"], ["y", None, "x"], [], None, ABSENT, ABSENT, "x"]),
        "attributes": st.sampled_from(
            [{"p": None, "q": 2.5}, {"p": 3}, {"p": True}, {}, None, ABSENT, {"p": [1]}]
        ),
        "deleted": st.sampled_from([False, None, ABSENT, ABSENT, True]),
    }
)
events = st.fixed_dictionaries(
    {
        "event_id": ids("e", "f", "g"),
        "user_id": ids("u", "v"),
        "item_id": ids("a", "b"),
        "action": st.sampled_from([*sorted(ACTIONS), "fly"]),
        "ts": times,
        "request_id": st.sampled_from(["r", "s", None, ABSENT]),
        "value": st.sampled_from([1, 2.5, None, ABSENT, "4"]),
        "position": st.sampled_from([0, 3, 3.0, 2e3, None, ABSENT, ABSENT, 3.5, -1, 2**31, "3"]),
    }
)
typed_events = st.fixed_dictionaries(
    {
        "event_id": ids("e", "f", "g") | st.none(),
        "user_id": ids("u", "v"),
        "item_id": ids("a", "b"),
        "action": st.sampled_from([*sorted(ACTIONS), "fly", None]),
        "ts": moments | moments | st.none(),
        "request_id": st.sampled_from(["r", "s", None]),
        "value": st.sampled_from([1.0, 2.5, None, math.nan, math.inf]),
        "position": st.sampled_from([0.0, 3.0, None, math.nan, 3.5, -1.0]),
    }
)
noise = st.sampled_from([b"", b"", b"", b"\n", BOM + b"\n", b"{broken\n", b"[]\n", b"\xff\n"])


def is_id(value):
    return isinstance(value, str) and 1 <= len(value) <= 256 and value.isprintable()


def is_time(value):
    return isinstance(value, datetime)


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def present(record):
    """Without what is absent: not there, null, or NaN as pandas writes it."""
    return {
        name: value
        for name, value in record.items()
        if value is not ABSENT and value is not None and value == value
    }


def item_row(record):
    """What the docs make of an item: id, time, deleted, title, tags, attributes; None: refused."""
    fields = present(record)
    if not (is_id(fields.get("item_id")) and is_time(fields.get("updated_at"))):
        return None
    head = (fields["item_id"], fields["updated_at"])
    if fields.get("deleted") is True:
        return (*head, True, None, [], {})
    title, tags = fields.get("title"), fields.get("tags", [])
    attributes = {k: v for k, v in fields.get("attributes", {}).items() if v is not None}
    good = (
        (title is None or (isinstance(title, str) and len(title) <= 100_000))
        and isinstance(tags, list)
        and all(isinstance(value, str | int | float) for value in attributes.values())
    )
    tags = sorted({tag for tag in tags if tag is not None})
    return (*head, False, title, tags, attributes) if good else None


def event_row(record):
    """What the docs make of an event, in the columns of the table; None: refused."""
    fields = present(record)
    position, value = fields.get("position"), fields.get("value")
    good = (
        all(is_id(fields.get(name)) for name in ("event_id", "user_id", "item_id"))
        and fields.get("action") in ACTIONS
        and is_time(fields.get("ts"))
        and (value is None or is_number(value))
        and (position is None or (is_number(position) and position == int(position)))
        and (position is None or 0 <= position < 2**31)
    )
    names = ("event_id", "request_id", "user_id", "item_id", "action", "value", "position", "ts")
    return tuple(fields.get(name) for name in names) if good else None


def newest(rows, *, key, time):
    """Key -> the rows that may be stored: the newest, and whatever shares its moment."""
    groups = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return {
        name: [row for row in group if row[time] == max(row[time] for row in group)]
        for name, group in groups.items()
    }


def written(record, zone):
    """A record as a line of JSON whose times are in a zone."""

    def plain(value):
        return value.astimezone(zone).isoformat() if isinstance(value, datetime) else value

    return json.dumps({k: plain(v) for k, v in record.items() if v is not ABSENT}).encode()


def landed(folder, name):
    """Land a folder in a lake of its own."""
    lake = Lake(str(folder.parent / name))
    return lake, land(open_source(folder), lake, now=START)


def write_lines(folder, kind, lines):
    """Write lines into a file of their own; the numbers of those that are records."""
    folder.mkdir(parents=True)
    data = b"".join(lines)
    (folder / f"{kind}.jsonl").write_bytes(data)
    bare = [line.removeprefix(BOM).strip() for line in data.split(b"\n")]
    return {number: line for number, line in enumerate(bare) if line}


def stored_rows(lake, table):
    if table is EVENTS:
        return lake.read(table).rows()
    names = ("item_id", "updated_at", "deleted", "title", "tags", "attributes")
    return [(*row[:5], json.loads(row[5])) for row in lake.read(table, names).rows()]


def check(lake, table, rows, *, time):
    """Every key has one row, and it is what one of its newest records says."""
    possible = newest(rows, key=0, time=time)
    found = stored_rows(lake, table)
    assert sorted(row[0] for row in found) == sorted(possible)
    for row in found:
        assert row in possible[row[0]]


def try_lines(kind, table, parse, records, noises, marks, zones):
    """Land lines of JSON with noise between them; compare with the docs and with the good alone."""
    lines, odd = [], []
    for record, rubbish, mark, zone in zip(records, noises, marks, zones, strict=True):
        line = written(record, zone)
        lines += [rubbish, (BOM if mark else b"") + line + (b"\r\n" if mark else b"\n")]
        odd += [rubbish.strip()] if rubbish.removeprefix(BOM).strip() else []
        odd += [line] if parse(record) is None else []
    rows = [row for row in map(parse, records) if row is not None]
    time = 1 if table is ITEMS else -1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        numbered = write_lines(folder, kind, lines)
        lake, report = landed(folder, "lake")
        letters = lake.read(DEAD_LETTERS)
        assert report.consumed == len(numbered)
        assert sorted(letters["value"]) == sorted(odd)
        assert all(numbered[row["offset"]] == row["value"] for row in letters.to_dicts())
        check(lake, table, rows, time=time)
        good = Path(name) / "good" / "data"
        write_lines(
            good,
            kind,
            [
                written(record, zone) + b"\n"
                for record, zone in zip(records, zones, strict=True)
                if parse(record) is not None
            ],
        )
        alone, _ = landed(good, "lake")
        key = table.key
        assert alone.read(table).sort(key).equals(lake.read(table).sort(key))


def together(records):
    """Records, and for each the noise before it, whether it has a mark, and its zone."""
    return st.lists(records, min_size=1, max_size=10).flatmap(
        lambda drawn: st.tuples(
            st.just(drawn),
            *(
                st.lists(each, min_size=len(drawn), max_size=len(drawn))
                for each in (noise, st.booleans(), zones)
            ),
        )
    )


calm = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="TEST_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)


@calm
@given(together(items))
def test_items_in_json_land_as_documented(drawn):
    try_lines("items", ITEMS, item_row, *drawn)


@calm
@given(together(events))
def test_events_in_json_land_as_documented(drawn):
    try_lines("events", EVENTS, event_row, *drawn)


@calm
@given(
    st.lists(typed_events, min_size=1, max_size=10),
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.sampled_from(["UTC", "+05:30", "-03:30", "Europe/Berlin"]),
    st.booleans(),
)
def test_events_in_parquet_land_as_documented(records, unit, zone, in_a_folder_by_day):
    types = {"ts": pa.timestamp(unit, zone), "value": pa.float64(), "position": pa.float64()}
    columns = {
        name: pa.array([record[name] for record in records], types.get(name, pa.string()))
        for name in records[0]
    }
    rows = [event_row(record) for record in records]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        file = folder / (
            "events/day=2026-03-01/0.parquet" if in_a_folder_by_day else "events.parquet"
        )
        file.parent.mkdir(parents=True)
        pq.write_table(pa.table(columns), file)
        lake, report = landed(folder, "lake")
        assert report.consumed == len(records)
        refused = sorted(number for number, row in enumerate(rows) if row is None)
        assert sorted(lake.read(DEAD_LETTERS)["offset"]) == refused
        check(lake, EVENTS, [row for row in rows if row is not None], time=-1)
