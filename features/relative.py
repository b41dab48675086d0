"""A feature in terms of its request's other candidates."""

import polars as pl


def relative_forms(name: str) -> list[pl.Expr]:
    """Return rank (1 = best, ties share it) and gap to the median, over the column `request`."""
    value = pl.col(name)
    rank = value.rank("min", descending=True).over("request").cast(pl.UInt32)
    return [
        rank.alias(f"{name}_rank"),
        (value - value.median().over("request")).cast(pl.Float32).alias(f"{name}_gap"),
    ]
