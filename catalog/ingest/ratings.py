"""Ratings of MovieLens as columns, checked one by one: a row that is odd is told apart, not fatal.

Ids are whole numbers and stay text: 001 is not 1. Written as floats, 7.0 is 7. Times are whole
seconds since 1970, and no later than the year 9999, which is what milliseconds would be.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from catalog.text_lines import text_lines

CHUNK_LINES = 500_000

COLUMNS = {"userId": "user_id", "movieId": "item_id", "rating": "rating", "timestamp": "timestamp"}
"""Of ratings.csv, and what they are called in interactions.parquet."""

RATINGS = pl.Schema(
    {
        "offset": pl.Int64,  # the line or row of the file, from 0
        "user_id": pl.String,
        "item_id": pl.String,
        "rating": pl.Float64,
        "timestamp": pl.Int64,  # seconds since 1970
        "defect": pl.String,  # what is odd; null where nothing is
        "line": pl.String,  # as it came, where something is odd
    }
)

_FIRST_SECOND, _END_SECOND = -62_135_596_800, 253_402_300_800  # of the years 1 to 9999

_QUOTED = r'^"(.*)"$'
_WHOLE_FLOAT = r"^(-?\d+)\.0+$"


def classic_ratings(file: Path) -> pl.DataFrame:
    """Read the rows of a ratings.csv, as `RATINGS`.

    Raises:
        ValueError: the first line does not name the four columns.
    """
    lines = text_lines(file)
    _, head = next(lines, (0, b""))
    names = [name.strip(' "') for name in head.decode(errors="replace").split(",")]
    if missing := [name for name in COLUMNS if name not in names]:
        raise ValueError(f"{file.name} must have a column {missing[0]!r}, got {names}")
    parts = [RATINGS.to_frame()]
    while chunk := tuple(islice(lines, CHUNK_LINES)):
        parts.append(_checked(_split(chunk, names)))
    return pl.concat(parts)


def parquet_ratings(file: Path) -> pl.DataFrame:
    """Read the rows of an interactions.parquet, as `RATINGS`."""
    columns = list(COLUMNS.values())
    rows = pl.read_parquet(file, columns=columns).select(pl.col(columns).cast(pl.String))
    return _checked(
        rows.with_row_index("offset").with_columns(
            line=pl.struct(columns).struct.json_encode(), is_ragged=False
        )
    )


def _split(chunk: tuple[tuple[int, bytes], ...], names: list[str]) -> pl.DataFrame:
    numbers, lines = zip(*chunk, strict=True)
    texts = pl.Series("line", lines, dtype=pl.Binary).cast(pl.String, strict=False)
    fields = pl.col("line").str.split(",")
    return pl.DataFrame({"offset": numbers, "line": texts}).with_columns(
        *(
            fields.list.get(names.index(name), null_on_oob=True)
            .str.strip_chars()
            .str.replace(_QUOTED, "${1}")
            .alias(column)
            for name, column in COLUMNS.items()
        ),
        # A quoted comma would be one of a name, and nothing here is a name.
        is_ragged=(fields.list.len() != len(names)).fill_null(True),
    )


def _checked(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of text, as `RATINGS`."""
    wholes = pl.col("user_id", "item_id", "timestamp").str.replace(_WHOLE_FLOAT, "${1}")
    typed = rows.with_columns(wholes).with_columns(
        pl.col("offset").cast(pl.Int64),
        pl.col("rating").cast(pl.Float64, strict=False).alias("stars"),
        pl.col("timestamp").cast(pl.Int64, strict=False).alias("second"),
    )
    defects = [
        _defect(pl.col("is_ragged"), "a row must have as many fields as the first line", None),
        *(
            _defect(~pl.col(name).str.contains(r"^\d+$"), f"{name} must be a whole number", name)
            for name in ("user_id", "item_id")
        ),
        _defect(~pl.col("stars").is_finite(), "rating must be a number", "rating"),
        _defect(
            ~pl.col("second").is_between(_FIRST_SECOND, _END_SECOND, closed="left"),
            "timestamp must be whole seconds since 1970, before the year 10000",
            "timestamp",
        ),
    ]
    return typed.with_columns(defect=pl.coalesce(defects)).select(
        "offset",
        "user_id",
        "item_id",
        rating="stars",
        timestamp="second",
        defect="defect",
        line=pl.when(pl.col("defect").is_not_null()).then(pl.col("line")),
    )


def _defect(is_odd: pl.Expr, rule: str, name: str | None) -> pl.Expr:
    """Return the rule that a row breaks, null where it keeps it; what is absent breaks it."""
    got = (
        pl.lit("")
        if name is None
        else pl.concat_str(
            pl.lit(", got '"), pl.col(name).fill_null("").str.slice(0, 40), pl.lit("'")
        )
    )
    return pl.when(is_odd.fill_null(True)).then(pl.concat_str(pl.lit(rule), got))


def in_order(ratings: pl.DataFrame) -> pl.DataFrame:
    """Sort ratings by time; at one second by the numbers of user and item."""
    numbers = [pl.col(name).cast(pl.Int64, strict=False) for name in ("user_id", "item_id")]
    return ratings.sort("timestamp", *numbers, "user_id", "item_id", "offset")


def iter_odd(ratings: pl.DataFrame) -> Iterator[tuple[int, str, str]]:
    """Yield offset, line and defect of the odd rows, in the order of the file."""
    odd = ratings.filter(pl.col("defect").is_not_null())
    yield from odd.select("offset", pl.col("line").fill_null(""), "defect").iter_rows()
