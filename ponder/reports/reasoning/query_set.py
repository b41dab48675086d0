"""A data folder with queries as a query set: what there is to find, and to ask."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from catalog.lake.tables import ITEMS, MEDIA
from embedder.content import Content
from evaluation.query_sets import QuerySet, answerable, read_queries
from ponder.settings import Settings
from ponder.steps.land import land_folder
from ponder.wiring.stores import open_lake


def read_query_set(
    settings: Settings, folder: Path, *, refusal: Callable[[Content], str | None]
) -> QuerySet:
    """Read the items and the `queries.jsonl` of a data folder, such as `ponder bazaar` writes.

    The folder is landed into a lake that is thrown away; the deployment's own is not touched.

    Args:
        settings: says from where images may be fetched.
        folder: as `ponder land --data` takes it.
        refusal: why an item cannot be embedded; such items are left out.

    Raises:
        FileNotFoundError: the folder has no `queries.jsonl`.
        ValueError: no query has a right item in the folder.
    """
    queries = read_queries(folder / "queries.jsonl")
    contents = _contents(settings, folder, refusal)
    asked = answerable(queries, contents)
    if not asked:
        raise ValueError(
            f"{folder} must hold a query with a right item, got {len(queries)} queries and "
            f"{len(contents)} items and none such"
        )
    return QuerySet(contents, asked)


def _contents(
    settings: Settings, folder: Path, refusal: Callable[[Content], str | None]
) -> dict[str, Content]:
    from embedder.items import item_content

    with tempfile.TemporaryDirectory() as home:
        aside = settings.replace(home=Path(home), artifacts="", lake="", lake_options={})
        land_folder(aside, folder)
        lake = open_lake(aside)
        rows = lake.read(ITEMS).filter(~pl.col("deleted")).sort("item_id")
        media = lake.read(MEDIA)
    shown = dict(zip(media["hash"], media["bytes"], strict=True))
    contents = {row["item_id"]: item_content(row, shown) for row in rows.iter_rows(named=True)}
    return {item_id: content for item_id, content in contents.items() if refusal(content) is None}
