"""A data folder with judged queries as an evaluation set: what there is to find, and to ask."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from catalog.lake.tables import ITEMS, MEDIA
from embedder.content import Content
from evaluation.query_sets import Query, read_queries
from ponder.settings import Settings
from ponder.steps.land import land_folder
from ponder.wiring import open_lake


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Items, and queries at least one of whose right items is among them."""

    item_ids: list[str]
    items: list[Content]
    queries: list[Query]

    @property
    def query_contents(self) -> list[Content]:
        """The queries as an encoder reads them."""
        return [Content(query.text) for query in self.queries]

    @property
    def chance(self) -> float:
        """The hit@1 of a blind guess: the mean share of right items."""
        return sum(map(len, self.relevant)) / len(self.queries) / len(self.item_ids)

    @property
    def relevant(self) -> list[set[str]]:
        """By query, the ids of the right items that there are."""
        known = set(self.item_ids)
        return [known & set(query.relevant) for query in self.queries]


def read_evaluation_set(
    settings: Settings, folder: Path, *, refusal: Callable[[Content], str | None]
) -> EvaluationSet:
    """The items and the `queries.jsonl` of a data folder, such as `ponder bazaar` writes.

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
    item_ids, items = _items(settings, folder, refusal)
    known = set(item_ids)
    asked = [query for query in queries if known & set(query.relevant)]
    if not asked:
        raise ValueError(
            f"{folder} must hold a query with a right item, got {len(queries)} queries and "
            f"{len(items)} items and none such"
        )
    return EvaluationSet(item_ids, items, asked)


def _items(
    settings: Settings, folder: Path, refusal: Callable[[Content], str | None]
) -> tuple[list[str], list[Content]]:
    from embedder.items import item_content

    with tempfile.TemporaryDirectory() as home:
        aside = replace(settings, home=Path(home), lake="", lake_options={})
        land_folder(aside, folder)
        lake = open_lake(aside)
        rows = lake.read(ITEMS).filter(~pl.col("deleted")).sort("item_id")
        media = lake.read(MEDIA)
    images = dict(zip(media["hash"], media["bytes"], strict=True))
    contents = {
        row["item_id"]: item_content(row, images.get(row["image_hash"]))
        for row in rows.iter_rows(named=True)
    }
    taken = {item_id: content for item_id, content in contents.items() if refusal(content) is None}
    return list(taken), list(taken.values())
