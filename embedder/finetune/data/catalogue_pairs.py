"""Pairs that the catalogue itself holds: titles with images, attributes with their items."""

import json
import string
from collections.abc import Mapping
from typing import Any

import polars as pl

from embedder.finetune.data.pair_rows import pair_rows


def title_image_pairs(items: pl.DataFrame, *, source: str = "title_image") -> pl.DataFrame:
    """Return a pair from each item's title to its images, its clip and its sound, without texts.

    Titles that differ in case alone ask the same. With `swap_roles` the trainer also learns the way
    from images to titles.

    Args:
        items: rows of `catalog.lake.tables.ITEMS` to learn from; which these are, a split by time
            or by item decides before. Deleted ones and those without title, or with nothing to
            show, are left out.
        source: name of the source.

    Returns:
        Layout of `PAIRS`.
    """
    shows = pl.any_horizontal(pl.col("image_hash", "video_hash", "audio_hash").is_not_null())
    shown = items.filter(~pl.col("deleted") & shows & (pl.col("title") != ""))
    found = shown.select(
        pl.col("title").str.to_lowercase().alias("query_key"),
        pl.col("title").alias("query_text"),
        pl.col("item_id").alias("target_item"),
        pl.lit("image").alias("target_view"),
    )
    return pair_rows(found, source=source)


def attribute_pairs(
    items: pl.DataFrame, wording: str, *, source: str = "attributes"
) -> pl.DataFrame:
    """Return a pair from the values that an item has to the item.

    Every item that has the values of a query gets its own pair with it, so equal keys tell exactly
    who answers. That holds for one wording: give each wording a source of its own.

    Args:
        items: rows of `catalog.lake.tables.ITEMS` to learn from; deleted ones are left out.
        wording: a format with the names of attributes, or `category`, e.g. "{color} {category}".
            Items that lack one of them, or have it blank, are left out.
        source: name of the source.

    Returns:
        Layout of `PAIRS`.

    Raises:
        ValueError: the wording names nothing, so that it would ask the same of every item.
    """
    names = [name for _, name, _, _ in string.Formatter().parse(wording) if name]
    if not names:
        raise ValueError(f"wording must name attributes, e.g. '{{color}}', got {wording!r}")
    rows = []
    for item in items.filter(~pl.col("deleted")).iter_rows(named=True):
        values = _values(item)
        if all(values.get(name, "").strip() for name in names):
            text = wording.format_map(values)
            rows.append((text.lower(), text, item["item_id"]))
    columns = {"query_key": pl.String, "query_text": pl.String, "target_item": pl.String}
    return pair_rows(pl.DataFrame(rows, schema=columns, orient="row"), source=source)


def _values(item: Mapping[str, Any]) -> dict[str, str]:
    """Return attributes as text; the item's category goes before an attribute of that name."""
    values = {name: str(value) for name, value in json.loads(item["attributes"]).items()}
    return values | ({"category": item["category"]} if item["category"] else {})
