"""Tests for catalog/ingest/parquet_rows.py: one column each as some writer leaves it."""

import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.ingest.parquet_rows import parquet_rows

MOMENT = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)


def rows(tmp_path, columns, **options):
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet", **options)
    return [row for _, row in parquet_rows(tmp_path / "rows.parquet")]


@pytest.mark.parametrize(
    "zone", ["UTC", "+05:30", "-03:30", "+14:00", "Asia/Kathmandu", "Etc/GMT+5"]
)
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_time_of_any_unit_and_zone_is_the_same_moment_in_utc(tmp_path, unit, zone):
    times = pa.array([MOMENT, None, MOMENT], pa.timestamp(unit, zone))
    read = rows(tmp_path, {"ts": times})
    assert read == [{"ts": MOMENT}, {}, {"ts": MOMENT}]
    assert read[0]["ts"].tzinfo.utcoffset(read[0]["ts"]) == timedelta(0)


def test_a_time_without_a_zone_stays_without_one_but_int96_is_utc(tmp_path):
    naive = MOMENT.replace(tzinfo=None)
    times = {"ts": pa.array([naive], pa.timestamp("ns"))}
    assert rows(tmp_path, times) == [{"ts": naive}]
    assert rows(tmp_path, times, use_deprecated_int96_timestamps=True) == [{"ts": MOMENT}]


def test_a_time_that_no_datetime_holds_stays_a_number_and_the_others_are_times(tmp_path):
    seconds = [int(MOMENT.timestamp()), 10**12, None, -(10**12)]
    times = pa.array([None if n is None else n * 10**6 for n in seconds], pa.timestamp("us", "UTC"))
    found = [row.get("ts") for row in rows(tmp_path, {"ts": times})]
    assert found == [MOMENT, 10**18, None, -(10**18)]
    wild = pa.array([2**62], pa.timestamp("ms", "UTC"))
    assert rows(tmp_path, {"ts": wild}) == [{"ts": 2**62}]


def test_a_text_that_is_no_utf8_stays_bytes_and_the_others_are_texts(tmp_path):
    offsets = pa.py_buffer(struct.pack("<4i", 0, 1, 2, 3))
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xffc"))
    assert [row["title"] for row in rows(tmp_path, {"title": texts})] == ["a", b"\xff", "c"]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array([3.0, None, float("nan")]), [3.0, None, None]),
        (pa.array([Decimal("18.54"), None], pa.decimal128(10, 2)), [18.54, None]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([b"a", b"\xc3\xa9"]), ["a", "é"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array([7], pa.uint64()), [7]),
        (pa.array([1.5], pa.float32()), [1.5]),
        (pa.array([True, None]), [True, None]),
        (pa.array([date(2026, 3, 1)]), [date(2026, 3, 1)]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_a_value_is_the_same_however_its_column_is_typed(tmp_path, column, values):
    assert [row.get("x") for row in rows(tmp_path, {"x": column})] == values


@pytest.mark.parametrize(
    "attributes",
    [
        pa.array([{"price": Decimal("3.50"), "colour": None, "size": float("nan")}]),
        pa.array([[("price", 3.5)]], pa.map_(pa.string(), pa.float64())),
        pa.array([{"price": 3.5}]),
    ],
    ids=["struct with gaps", "map", "struct"],
)
def test_attributes_are_those_that_are_there(tmp_path, attributes):
    assert rows(tmp_path, {"attributes": attributes}) == [{"attributes": {"price": 3.5}}]


def test_polars_writes_what_is_read(tmp_path):
    frame = pl.DataFrame({"tags": [["x", None], None], "ts": [MOMENT, None], "n": [1, None]})
    frame.write_parquet(tmp_path / "rows.parquet")
    read = list(parquet_rows(tmp_path / "rows.parquet"))
    assert read == [(0, {"tags": ["x", None], "ts": MOMENT, "n": 1}), (1, {})]
