"""What is recommended to somebody of whom nothing is known: what is popular, and what is new.

Two popular items and a fresh one take turns. Popular is what was liked most of late, a like of
seven days ago counting half (`features.popularity`); fresh is what was created last. Both must
meet the filter, and be in the live version where a vector is needed.
"""

from collections.abc import Callable, Collection, Sequence

from recall.candidates import Channel
from recall.fusion import interleaved
from recall.retrieval import Found

POPULAR_WEIGHT, FRESH_WEIGHT = 2.0, 1.0
CHUNK = 200
CHANNELS: tuple[tuple[Channel], tuple[Channel]] = (("popular",), ("fresh",))

Known = Callable[[Sequence[str]], Collection[str]]
"""From item ids to those that may be returned."""


def popular_and_fresh(
    popular: Sequence[str], fresh: Sequence[str], known: Known, *, limit: int
) -> list[Found]:
    """Return popular and fresh items, best first; their score means nothing.

    Args:
        popular: item ids, the most popular first.
        fresh: item ids, the newest first.
        known: which of them may be returned; asked about some hundreds at a time.
        limit: items at most.
    """
    lists = [first_known(item_ids, known, limit=limit) for item_ids in (popular, fresh)]
    are_both = {*lists[0]} & {*lists[1]}
    turns = interleaved(lists, (POPULAR_WEIGHT, FRESH_WEIGHT), limit=limit)
    return [
        Found(item_id, 0.0, ("popular", "fresh") if item_id in are_both else CHANNELS[number])
        for item_id, number in turns
    ]


def first_known(item_ids: Sequence[str], known: Known, *, limit: int) -> list[str]:
    """Return the first items that may be returned."""
    found: list[str] = []
    for start in range(0, len(item_ids), CHUNK):
        chunk = item_ids[start : start + CHUNK]
        here = known(chunk)
        found += [item_id for item_id in chunk if item_id in here]
        if len(found) >= limit:
            break
    return found[:limit]
