"""A few items by their ids, remembered for as long as the lake holds them unchanged.

The lake has no index by id: a look-up reads the ids of all items. Those that were looked up last
are kept, and forgotten as soon as a commit touches them.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import polars as pl

from catalog.lake.changes import TableFollower
from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS

FOLLOWED = ("item_id", "content_hash", "updated_at", "deleted")


@dataclass(frozen=True, slots=True)
class ItemDetails:
    """What is shown of an item; untrusted texts."""

    title: str | None
    category: str | None
    image_uri: str | None
    """Where its image came from; `media:` and its hash when it came inline."""

    image_hash: str | None
    """Of its image, as the lake keeps it; None without one."""

    video_hash: str | None
    """Of its clip; None without one."""

    audio_hash: str | None
    """Of its sound; None without one."""

    tags: Sequence[str]
    attributes: str
    """A JSON object."""

    created_at: datetime

    @classmethod
    def columns(cls) -> list[str]:
        """Return the columns of `items` that it is made of."""
        return list(cls.__dataclass_fields__)

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """Return the details in a row of `columns`."""
        return cls(*row)


class ItemLookup:
    """Looks items up; safe to call from several threads, and while it is refreshed."""

    def __init__(self, lake: Lake, *, max_items: int = 50_000) -> None:
        """Remember nothing yet.

        Args:
            lake: whose items they are.
            max_items: remembered at a time, those among them that are not there.
        """
        self._lake, self._max_items = lake, max_items
        self._follower = TableFollower(lake, ITEMS, FOLLOWED)
        self._kept: OrderedDict[str, ItemDetails | None] = OrderedDict()
        self._generation = 0
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()

    def refresh(self) -> bool:
        """Forget what changed in the lake since the last time; return whether anything had."""
        with self._refreshing:
            changes = self._follower.changes()
            if changes is None:
                return False
            changed: list[str] = []
            if not changes.is_anew:
                touched = pl.concat([changes.added, changes.removed]).select("item_id").unique()
                changed = touched.collect()["item_id"].to_list()
            with self._lock:
                self._generation += 1
                if changes.is_anew:
                    self._kept.clear()
                for item_id in changed:
                    self._kept.pop(item_id, None)
            return True

    def find(self, item_ids: Sequence[str]) -> dict[str, ItemDetails]:
        """Return the items that are there and not deleted, as of the last refresh or later."""
        with self._lock:
            generation = self._generation
            known = {i: self._kept[i] for i in item_ids if i in self._kept}
            for item_id in known:
                self._kept.move_to_end(item_id)
        if missing := [item_id for item_id in item_ids if item_id not in known]:
            read = dict.fromkeys(missing) | self._read(missing)
            self._keep(read, generation)
            known |= read
        return {item_id: item for item_id, item in known.items() if item is not None}

    def image_hashes(self, item_ids: Sequence[str]) -> dict[str, str]:
        """Return the hashes of the items' images; items without one are absent."""
        found = self.find(item_ids).items()
        return {i: item.image_hash for i, item in found if item.image_hash is not None}

    def _read(self, item_ids: list[str]) -> dict[str, ItemDetails]:
        rows = (
            self._lake.scan(ITEMS)
            .filter(pl.col("item_id").is_in(item_ids), ~pl.col("deleted"))
            .select("item_id", *ItemDetails.columns())
            .collect()
        )
        return {item_id: ItemDetails.of(details) for item_id, *details in rows.iter_rows()}

    def _keep(self, read: dict[str, ItemDetails | None], generation: int) -> None:
        with self._lock:
            if generation != self._generation:  # it may have been read before it was touched
                return
            self._kept.update(read)
            while len(self._kept) > self._max_items:
                self._kept.popitem(last=False)
