"""Rows of Parquet files as pandas, Polars, Spark and Hugging Face write them, as Python values.

Every column is brought to the few types that records know, whatever its writer chose:

    timestamps      `datetime` in UTC, of any unit and zone, Spark's INT96 too; naive without a zone
    decimals        float
    text as bytes   str, where it is UTF-8
    dictionaries    their values
    maps            dict

What no `datetime` can hold, or is no UTF-8, stays a number or bytes, so that its own row is
refused and no other. A null and a NaN count as absent: pandas writes either.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

SLICE_ROWS = 2_000
"""Rows held at once; with images in them a whole file may not fit."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST_SECOND = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
_END_SECOND = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


def parquet_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a file without what is absent, each with its number from 0.

    Raises:
        pyarrow.ArrowException: the file is no whole Parquet file; the rows before were yielded.
    """
    import pyarrow.parquet as pq

    start = 0
    with pq.ParquetFile(file) as opened:
        instants = _int96_columns(opened)
        for batch in opened.iter_batches(batch_size=SLICE_ROWS):
            names = batch.schema.names
            columns = [
                _values(column, is_instant=name in instants)
                for name, column in zip(names, batch.columns, strict=True)
            ]
            for number, row in enumerate(zip(*columns, strict=True), start):
                yield number, _present(dict(zip(names, row, strict=True)))
            start += batch.num_rows


def _int96_columns(opened: Any) -> set[str]:
    """Return the columns of Spark's older timestamps, which are UTC and do not say so."""
    columns = (opened.schema.column(n) for n in range(len(opened.schema)))
    return {column.path for column in columns if column.physical_type == "INT96"}


def _values(column: "pa.Array", *, is_instant: bool) -> list[Any]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary_decode(), is_instant=is_instant)
    if pa.types.is_timestamp(kind):
        return _times(column, is_utc=is_instant or kind.tz is not None)
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64()).to_pylist()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _texts(column)
    if pa.types.is_map(kind):
        return [None if pairs is None else dict(pairs) for pairs in column.to_pylist()]
    if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        return column.to_pylist()
    return pl.Series(column).to_list()  # several times faster than pyarrow's own


def _texts(column: "pa.Array") -> list[Any]:
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:  # a text that is no UTF-8; the others are
        return column.cast(pa.large_binary()).to_pylist()
    return pl.Series(column).to_list()


def _times(column: "pa.Array", *, is_utc: bool) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    per_second = _PER_SECOND[column.type.unit]
    first, end = _FIRST_SECOND * per_second, _END_SECOND * per_second
    numbers = column.cast(pa.int64())
    extremes = pc.min_max(numbers).as_py()
    if extremes["min"] is None or (first <= extremes["min"] and extremes["max"] < end):
        zone = "UTC" if is_utc else None
        return pl.Series(column.cast(pa.timestamp("us", zone), safe=False)).to_list()
    return [
        _time(number, per_second, is_utc=is_utc)
        if number is not None and first <= number < end
        else number
        for number in numbers.to_pylist()
    ]


def _time(number: int, per_second: int, *, is_utc: bool) -> datetime:
    moment = _EPOCH + timedelta(microseconds=number * 10**6 // per_second)
    return moment if is_utc else moment.replace(tzinfo=None)


def _present(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _record_value(name, value) for name, value in row.items() if not _is_absent(value)
    }


def _is_absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _record_value(name: str, value: Any) -> Any:
    if isinstance(value, bytes) and name != "image":
        return _decoded(value)
    if isinstance(value, dict) and name == "attributes":
        return {key: _plain(each) for key, each in value.items() if not _is_absent(each)}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _decoded(value)
    return float(value) if isinstance(value, Decimal) else value


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
