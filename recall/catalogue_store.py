"""What the catalogue holds beside vectors, in step with the lake: words, newest items, attributes.

Bounded: the words lie in files (`recall.text_index`), of the newest items there are 2,000 and of
the attributes' names 10,000.
"""

import difflib
import json
import threading
from collections.abc import Collection, Iterable

import polars as pl

from catalog.lake.changes import TableChanges, TableFollower
from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS, TIME
from embedder.prompting.template import item_text
from recall.errors import Unavailable
from recall.text_index import LexicalMatch, TextIndex

FOLLOWED = ("item_id", "content_hash", "updated_at", "deleted")
READ = ("item_id", "title", "text", "category", "tags", "attributes", "created_at", "deleted")
NUM_NEWEST = 2_000
MIN_NEWEST = 1_000  # fewer are left after deletions: look for them again
MAX_NAMES = 10_000
ROWS_AT_ONCE = 5_000

_NEWEST = pl.Schema([("item_id", pl.String), ("created_at", TIME)])


class CatalogueStore:
    """Follows the items of a lake; safe to ask while it is refreshed."""

    def __init__(self, lake: Lake) -> None:
        """Hold nothing until the first `refresh`."""
        self._lake = lake
        self._follower = TableFollower(lake, ITEMS, FOLLOWED)
        self._refreshing = threading.Lock()
        self._words: TextIndex | None = None
        self._newest = pl.DataFrame(schema=_NEWEST)
        self._names: frozenset[str] = frozenset()

    def refresh(self) -> bool:
        """Take in what changed in the lake since the last time; return whether anything had.

        The first one reads all items, 100,000 of them in some seconds. Who asks meanwhile gets
        what was known before.
        """
        with self._refreshing:
            changes = self._follower.changes()
            if changes is None:
                return False
            try:
                self._take_in(changes)
            except BaseException:
                self._follower.forget()
                raise
            return True

    def lexical(self, text: str, *, limit: int) -> list[LexicalMatch]:
        """Return the items that hold words of a text; see `recall.text_index.TextIndex.search`.

        Raises:
            Unavailable: the words have not been read yet.
        """
        if self._words is None:
            raise Unavailable(
                "the catalogue's words are being read; try again later, or without hybrid"
            )
        return self._words.search(text, limit=limit)

    def newest(self, limit: int) -> list[str]:
        """Return the living items that were created last, newest first, ties by item_id."""
        return self._newest["item_id"].head(limit).to_list()

    def hints(self, names: Collection[str]) -> list[str]:
        """Return a sentence for each attribute name that no item has, with the nearest known.

        Nothing is said of a catalogue without attributes, or that was not read yet.
        """
        known = self._names
        if not known or len(known) == MAX_NAMES:
            return []
        return [_hint(name, known) for name in sorted(set(names) - known)]

    def _take_in(self, changes: TableChanges) -> None:
        items = self._lake.scan(ITEMS).select(READ)
        if changes.is_anew:
            words, newest, names = TextIndex(), pl.DataFrame(schema=_NEWEST), frozenset[str]()
            living = items.filter(~pl.col("deleted"))
            gone: list[str] = []
        else:
            assert self._words is not None
            words, newest, names = self._words, self._newest, self._names
            touched = pl.concat([changes.added, changes.removed]).select("item_id").unique()
            ids = touched.collect()["item_id"]
            living = items.filter(pl.col("item_id").is_in(ids.implode()), ~pl.col("deleted"))
            gone = ids.to_list()
            newest = newest.filter(~pl.col("item_id").is_in(ids.implode()))
        words.remove(gone)
        for rows in living.collect_batches(chunk_size=ROWS_AT_ONCE):
            words.put(_texts(rows))
            newest = _newest_of(pl.concat([newest, rows.select(_NEWEST.names())]))
            names = names | _names(rows)
        words.commit()
        if len(newest) < min(MIN_NEWEST, len(self._newest)):
            newest = _newest_of(self._all_living())
        self._words, self._newest = words, newest
        self._names = frozenset(sorted(names)[:MAX_NAMES])

    def _all_living(self) -> pl.DataFrame:
        living = self._lake.scan(ITEMS).filter(~pl.col("deleted")).select(_NEWEST.names())
        return living.top_k(NUM_NEWEST, by="created_at").collect()


def _texts(rows: pl.DataFrame) -> Iterable[tuple[str, str]]:
    columns = rows.select("item_id", "title", "text", "category", "tags")
    for item_id, title, text, category, tags in columns.iter_rows():
        yield item_id, item_text(title, text, category, tags or ())


def _newest_of(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("created_at", "item_id", descending=[True, False]).head(NUM_NEWEST)


def _names(rows: pl.DataFrame) -> frozenset[str]:
    texts = rows["attributes"].filter(rows["attributes"] != "{}").unique()
    return frozenset(name for text in texts for name in json.loads(text))


def _hint(name: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    told = f"no item has the attribute {name!r}, so a condition on it lets nothing pass"
    if near:
        return f"{told}; the nearest that items have: {', '.join(map(repr, near))}"
    some = sorted(known)[:10]
    return f"{told}; items have: {', '.join(map(repr, some))}{'...' if len(known) > 10 else ''}"
