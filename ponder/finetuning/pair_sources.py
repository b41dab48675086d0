"""Training pairs of a catalogue: what its sources give, split by time, and their contents."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta

import polars as pl

from embedder.content import Content
from evaluation.query_sets import Query

MAX_GAP = timedelta(days=1)
"""Between two likes of one user that make a pair."""

ATTRIBUTES = "attributes"
"""Before a wording, the name of its source."""

LATER_SHARE = 0.1
"""Of the positive events, the last ones, that are kept for evaluation."""


def split_moment(positives: pl.DataFrame, before: str) -> datetime | None:
    """Return the moment before which events are learned from; None where there are no events.

    Args:
        positives: events that speak for their item.
        before: ISO 8601; empty: the time after which a tenth of the positives lies.
    """
    if before:
        return datetime.fromisoformat(before)
    if positives.is_empty():
        return None
    moment: datetime = positives["ts"].sort()[int((1 - LATER_SHARE) * len(positives))]
    return moment


def training_rows(
    items: pl.DataFrame,
    positives: pl.DataFrame,
    *,
    before: datetime | None,
    searches: pl.DataFrame,
    wordings: Iterable[str],
    sources: Collection[str],
    max_pairs: int,
    seed: int,
) -> pl.DataFrame:
    """Return rows of `pair_rows.PAIRS` from all sources, at most so many of each.

    Args:
        items: rows of `catalog.lake.tables.ITEMS`.
        positives: events that speak for their item.
        before: events from here on are not looked at; None: there are none.
        searches: request_id and text.
        wordings: of attributes, see `embedder.finetune.data.catalogue_pairs.attribute_pairs`; each
            is a source of its own.
        sources: names of those to take, `attributes` for all wordings; empty: all.
        max_pairs: of each source; of more, so many are drawn.
        seed: decides which.

    Raises:
        ValueError: a wording names nothing, or no item has all that it names.
    """
    from embedder.finetune.data.catalogue_pairs import title_image_pairs
    from embedder.finetune.data.co_consumption import consecutive_pairs, neighbour_pairs
    from embedder.finetune.data.item_similarity import swing
    from embedder.finetune.data.pair_rows import PAIRS
    from embedder.finetune.data.search_pairs import search_pairs

    makers: dict[str, Callable[[], Iterable[pl.DataFrame]]] = {
        "title_image": lambda: [title_image_pairs(items)],
        ATTRIBUTES: lambda: [_worded_pairs(items, wording) for wording in wordings],
    }
    if before is not None:
        makers |= {
            "search": lambda: [search_pairs(searches, positives, before=before)],
            "consecutive": lambda: [consecutive_pairs(positives, before=before, max_gap=MAX_GAP)],
            "co_consumption": lambda: [neighbour_pairs(positives, swing, before=before)],
        }
    return pl.concat(
        [
            PAIRS.empty(),
            *(
                _at_most(max_pairs, rows, seed=seed)
                for name, make in makers.items()
                if not sources or name in sources
                for rows in make()
            ),
        ]
    )


def _at_most(num: int, rows: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    return rows if len(rows) <= num else rows.sample(num, seed=seed).sort("pair_id")


def _worded_pairs(items: pl.DataFrame, wording: str) -> pl.DataFrame:
    from embedder.finetune.data.catalogue_pairs import attribute_pairs

    rows = attribute_pairs(items, wording, source=f"{ATTRIBUTES} {wording}")
    if rows.is_empty():
        raise ValueError(
            f"a wording must name attributes that items have, or category, got {wording!r}, and no "
            "item has all of these; mend or remove its line in wordings.txt"
        )
    return rows


def later_queries(
    positives: pl.DataFrame, *, since: datetime, max_queries: int, seed: int
) -> list[Query]:
    """Return what users liked next, after the split: each item asks for those that followed it.

    Args:
        positives: events that speak for their item.
        since: the split; both likes lie after it.
        max_queries: of more, so many are drawn.
        seed: decides which.
    """
    from embedder.finetune.data.co_consumption import consecutive_pairs

    later = positives.filter(pl.col("ts") >= since)
    if later.is_empty():
        return []
    last: datetime = later["ts"].sort()[-1]
    end = last + timedelta(microseconds=1)
    followed = (
        consecutive_pairs(later, before=end, max_gap=MAX_GAP)
        .group_by("query_item")
        .agg(pl.col("target_item").sort())
        .sort("query_item")
    )
    drawn = followed.sample(min(max_queries, len(followed)), seed=seed).sort("query_item")
    return [
        Query(query_id=item, item=item, relevant=answers) for item, answers in drawn.iter_rows()
    ]


def contents_of(items: pl.DataFrame, media: Mapping[str, bytes]) -> dict[str, Content]:
    """Return the living items by id as an embedder reads them, without those of a broken image.

    Clips and sounds are not opened here: they take longer, and were decoded when they landed.

    Args:
        items: rows of `catalog.lake.tables.ITEMS`.
        media: what they show by its hash.
    """
    from embedder.items import item_content
    from embedder.prompting.images import image_problem

    contents = {}
    for row in items.filter(~pl.col("deleted")).sort("item_id").iter_rows(named=True):
        content = item_content(row, media)
        if not any(map(image_problem, (content.image, *content.gallery))):
            contents[row["item_id"]] = content
    return contents
