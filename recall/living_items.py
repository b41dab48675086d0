"""Items that may be recommended although no vector finds them, by what the lake says of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from catalog.lake.item_lookup import ItemDetails, ItemLookup
from recall.attributes import attribute_table, tag_table
from recall.block_filter import matching
from recall.filters import Filter, microseconds


class LivingItems:
    """Tells which items are there and meet a filter; safe to call from several threads."""

    def __init__(self, items: ItemLookup) -> None:
        """Ask what is remembered of the items of a lake."""
        self._items = items

    def that_meet(self, filter: Filter, item_ids: Sequence[str]) -> set[str]:
        """Return those of the items that are not deleted and meet a filter, as an index would."""
        excluded = set(filter.exclude_ids)
        wanted = [item_id for item_id in item_ids if item_id not in excluded]
        if filter.include_ids is not None:
            included = set(filter.include_ids)
            wanted = [item_id for item_id in wanted if item_id in included]
        found = self._items.find(wanted)
        if not filter.asks_columns:
            return set(found)
        is_match_N = matching(_asked(found), filter)
        return {item_id for item_id, meets in zip(found, is_match_N, strict=True) if meets}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What filters ask about of some items; see `recall.block_filter.Asked`."""

    rows: pl.DataFrame
    tags: Callable[[], pl.DataFrame]
    attributes: Callable[[], pl.DataFrame]


def _asked(items: Mapping[str, ItemDetails]) -> _Asked:
    columns = {
        "category": pl.Series([item.category for item in items.values()], dtype=pl.String),
        "created_at": pl.Series(
            [microseconds(item.created_at) for item in items.values()], dtype=pl.Int64
        ),
    }
    return _Asked(
        rows=pl.DataFrame(columns),
        tags=lambda: tag_table(item.tags for item in items.values()),
        attributes=lambda: attribute_table(item.attributes for item in items.values()),
    )
