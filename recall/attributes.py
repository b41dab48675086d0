"""Tags and attributes as typed columns: one row for each tag, and for each attribute of an item.

Attributes are named by those who write items, so a column for each name could be any number; here
a name costs nothing, and a filter on it reads its own rows alone.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from recall.rows import json_integer

TAGS = pl.Schema({"row": pl.UInt32, "tag": pl.String})

ATTRIBUTES = pl.Schema(
    {
        "row": pl.UInt32,
        "name": pl.String,
        "integer": pl.Int64,
        "number": pl.Float64,
        "text": pl.String,
        "truth": pl.Boolean,
    }
)
"""Of the last four the one that fits the value's type; the others are null."""


def tag_table(tags: Iterable[Sequence[str]]) -> pl.DataFrame:
    """Return the tags in the columns of `TAGS`, the first item's row being 0."""
    rows = [(row, tag) for row, each in enumerate(tags) for tag in each]
    return pl.DataFrame(rows, schema=TAGS, orient="row").sort("tag", "row")


def attribute_table(attributes: Iterable[str]) -> pl.DataFrame:
    """Return what a filter can ask of JSON objects, in the columns of `ATTRIBUTES`.

    Lists, objects and null within them meet no condition and are left out.

    Example:
        >>> attribute_table(['{"year": 1999, "on": true}', '{"parts": [1]}']).rows()
        [(0, 'on', None, None, None, True), (0, 'year', 1999, None, None, None)]
    """
    rows = [
        (row, name, *typed)
        for row, each in enumerate(attributes)
        for name, value in json.loads(each, parse_int=json_integer).items()
        if (typed := _typed(value)) is not None
    ]
    return pl.DataFrame(rows, schema=ATTRIBUTES, orient="row").sort("name", "row")


def _typed(value: Any) -> tuple[int | None, float | None, str | None, bool | None] | None:
    if isinstance(value, bool):
        return None, None, None, value
    if isinstance(value, int):
        return value, None, None, None
    if isinstance(value, float) and math.isfinite(value):
        return None, value, None, None
    return (None, None, value, None) if isinstance(value, str) else None
