"""A filter evaluated on columns: the same rows as Milvus finds for its expression.

Shape legend: N = rows.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import and_, or_
from typing import Protocol

import numpy as np
import polars as pl

from recall.filters import Condition, Filter, Range, Scalar, microseconds


class Asked(Protocol):
    """What filters ask about; `recall.blocks.Block` is one."""

    @property
    def rows(self) -> pl.DataFrame:
        """Return `category`, `created_at` (microseconds since 1970) and `codes`, among others.

        The last only where a filter asks about them.
        """

    @property
    def tags(self) -> Callable[[], pl.DataFrame]:
        """Return what reads the tags, in the columns of `recall.attributes.TAGS`, sorted by tag."""

    @property
    def attributes(self) -> Callable[[], pl.DataFrame]:
        """Return what reads `recall.attributes.ATTRIBUTES`, sorted by name."""


def matching(block: Asked, filter: Filter) -> np.ndarray:
    """Return [N] bool, which rows meet all conditions of a filter.

    Conditions on `include_ids` and `exclude_ids` are left to whoever can look ids up.
    """
    is_match_N = np.ones(len(block.rows), dtype=bool)
    if (condition := _on_columns(filter)) is not None:
        is_match_N = block.rows.select(condition.fill_null(False)).to_series().to_numpy()
    if filter.tags_any is not None:
        is_match_N = is_match_N & _has(block, _tagged(block, filter.tags_any)["row"])
    if filter.tags_all is not None:
        wanted = set(filter.tags_all)
        counts = _tagged(block, wanted).unique().group_by("row").len()
        is_match_N = is_match_N & _has(block, counts.filter(len=len(wanted))["row"])
    for name, asked in filter.attributes.items():
        found = _equal(block.attributes(), "name", name)
        is_match_N = is_match_N & _has(block, found.filter(_meets(asked))["row"])
    return is_match_N


def _on_columns(filter: Filter) -> pl.Expr | None:
    conditions = []
    if filter.category_in is not None:
        conditions.append(pl.col("category").is_in(filter.category_in))
    if filter.created_after is not None:
        conditions.append(pl.col("created_at") >= microseconds(filter.created_after))
    if filter.created_before is not None:
        conditions.append(pl.col("created_at") < microseconds(filter.created_before))
    if filter.code_prefixes is not None:
        codes = pl.col("codes")
        begins = [codes.str.starts_with(f"{prefix}-") for prefix in filter.code_prefixes]
        conditions.append(reduce(or_, begins))
    return reduce(and_, conditions) if conditions else None


def _tagged(block: Asked, tags: Iterable[str]) -> pl.DataFrame:
    return pl.concat([_equal(block.tags(), "tag", tag) for tag in tags])


def _equal(table: pl.DataFrame, column: str, value: str) -> pl.DataFrame:
    """Return the rows with a value in the column that the table is sorted by."""
    begin = table[column].search_sorted(value, side="left")
    return table.slice(begin, table[column].search_sorted(value, side="right") - begin)


def _has(block: Asked, rows: pl.Series) -> np.ndarray:
    is_there_N = np.zeros(len(block.rows), dtype=bool)
    is_there_N[rows.to_numpy()] = True
    return is_there_N


def _meets(asked: Condition) -> pl.Expr:
    if isinstance(asked, Range):
        return _within(pl.col("integer"), asked) | _within(pl.col("number"), asked)
    values = asked if isinstance(asked, tuple) else (asked,)
    return reduce(or_, [_equals(value) for value in values])


def _within(column: pl.Expr, asked: Range) -> pl.Expr:
    is_within = column.is_not_null()
    if asked.min is not None:
        is_within &= column.cast(pl.Float64) >= asked.min
    if asked.max is not None:
        is_within &= column.cast(pl.Float64) <= asked.max
    return is_within.fill_null(False)


def _equals(value: Scalar) -> pl.Expr:
    """Numbers compare by value, whatever their type; true is no number."""
    if isinstance(value, bool):
        return (pl.col("truth") == value).fill_null(False)
    if isinstance(value, str):
        return (pl.col("text") == value).fill_null(False)
    is_whole = isinstance(value, int) or value.is_integer()
    fits = is_whole and -(2**63) <= value < 2**63
    is_integer = (pl.col("integer") == int(value)).fill_null(False) if fits else pl.lit(False)
    return is_integer | (pl.col("number") == float(value)).fill_null(False)
