"""Codes of items: which codebooks are in use of a version, and which codes each item was given.

Codes hang on nothing but an item's vector and on frozen codebooks, so two items may have the same.
The last digit tells them apart: the first item of some codes has 0, the next one 1, and whoever has
one keeps it, so that codes and digit together name an item for good.
"""

from datetime import datetime

import polars as pl

from catalog.lake.key_set import KeySet
from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import KEYS, embeddings_of
from catalog.lake.tables import CODEBOOKS, CODES

NAME = pl.col("codes").cast(pl.List(pl.String)).list.join("-")
"""Codes as a text, e.g. `12-200-7`."""


def codebooks_in_use(lake: Lake, version: str) -> dict[str, str] | None:
    """Return `codes_id`, `config` and `measured` of a version's codebooks; None: it has none."""
    columns = ["codes_id", "config", "measured"]
    rows = lake.scan(CODEBOOKS).filter(pl.col("model_version") == version)
    newest = rows.sort("number").select(columns).tail(1).collect()
    return newest.row(0, named=True) if len(newest) else None


def codes_in_use(lake: Lake, version: str) -> str | None:
    """Return the id of the codebooks of a version that are in use; None: it has none."""
    found = codebooks_in_use(lake, version)
    return None if found is None else found["codes_id"]


def put_codebooks_in_use(
    lake: Lake, version: str, codes_id: str, *, config: str, measured: str, at: datetime
) -> None:
    """Note that codebooks are in use from now on.

    Args:
        lake: its tables.
        version: whose vectors they code.
        codes_id: of the codebooks.
        config: a JSON object, how they were learned.
        measured: a JSON object, what vectors lose by them.
        at: when they were learned, with a time zone.
    """

    def rows(stored: pl.DataFrame) -> pl.DataFrame:
        number = stored.filter(model_version=version)["number"].max()
        row = {
            "model_version": version,
            "number": 1 + (number if isinstance(number, int) else 0),
            "codes_id": codes_id,
            "config": config,
            "measured": measured,
            "learned_at": at,
        }
        return pl.DataFrame([row], schema=CODEBOOKS.schema)

    lake.rewrite(CODEBOOKS, rows)


def codes_of(lake: Lake, codes_id: str) -> pl.LazyFrame:
    """Scan the codes that codebooks gave."""
    return lake.scan(CODES).filter(pl.col("codes_id") == codes_id)


def embeddings_without_codes(lake: Lake, version: str, codes_id: str) -> pl.LazyFrame:
    """Return item_id, content_hash and vector of what codebooks have not coded yet.

    Where nothing was coded so far that is a scan of all; else only the keys are compared, and the
    vectors read of those that are missing.
    """
    embedded = embeddings_of(lake, version).select(*KEYS, "vector")
    coded = KeySet.of(codes_of(lake, codes_id), KEYS)
    if not len(coded):
        return embedded
    missing = coded.absent(embedded.select(KEYS))
    is_missing = pl.col("item_id").is_in(missing["item_id"].unique().implode())
    return embedded.filter(is_missing).join(missing.lazy(), on=KEYS, how="semi")


def put_codes(lake: Lake, rows: pl.DataFrame, *, version: str, codes_id: str) -> int:
    """Write codes with a last digit each, and return how many were new.

    Two writers at once give no digit twice: who comes second looks again.

    Args:
        lake: its tables.
        rows: item_id, content_hash and codes, each key once.
        version: whose vectors were coded.
        codes_id: of the codebooks.

    Raises:
        CommitFailedError: others kept committing first, 20 times in a row.
    """
    if rows.is_empty():
        return 0
    named = rows.with_columns(name=NAME)

    def plan(stored: pl.LazyFrame) -> pl.DataFrame:
        of_these = stored.filter(pl.col("codes_id") == codes_id).with_columns(name=NAME)
        same = of_these.filter(pl.col("name").is_in(named["name"].unique().implode()))
        taken = same.select(*KEYS, "name", "digit").collect(engine="streaming")
        new = named.join(taken, on=KEYS, how="anti")
        given = with_digits(new, taken)
        constant = {"model_version": version, "codes_id": codes_id}
        lits = [pl.lit(value).alias(name) for name, value in constant.items()]
        return given.with_columns(lits).select(CODES.schema.names()).cast(CODES.schema)

    return len(lake.insert_planned(CODES, plan))


def with_digits(new: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Return rows with `digit`: that which the item has under these codes, or the next free one.

    New items of the same codes get theirs in order of item_id.

    Args:
        new: item_id and name, among others; an item may be there with several contents.
        taken: item_id, name and digit of all rows of these names.
    """
    by = ["item_id", "name"]
    kept = taken.select(*by, "digit").unique(by)
    fresh = new.select(by).unique().join(kept, on=by, how="anti").sort(by)
    free = taken.group_by("name").agg(free=pl.col("digit").max() + 1)
    numbered = fresh.with_columns(place=pl.int_range(pl.len()).over("name")).join(
        free, on="name", how="left"
    )
    digit = (pl.col("place") + pl.col("free").fill_null(0)).cast(pl.Int32).alias("digit")
    given = pl.concat([kept.cast({"digit": pl.Int32}), numbered.select(*by, digit)])
    return new.join(given, on=by, how="left", maintain_order="left")
