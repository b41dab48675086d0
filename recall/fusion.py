"""Several lists of candidates made into one."""

from collections.abc import Sequence

RRF_K = 60
"""How much the first places of a list are worth beside the later ones, as Cormack et al. (2009)
chose it."""


def reciprocal_rank_fusion(lists: Sequence[Sequence[str]], *, k: int = RRF_K) -> dict[str, float]:
    """Return the fused score of every item: the sum of 1 / (k + rank) over the lists it is in.

    Args:
        lists: item ids, best first, each once in a list.
        k: see `RRF_K`.

    Returns:
        Score by item, best first; equal scores in order of item id.

    Example:
        >>> list(reciprocal_rank_fusion([["a", "b"], ["b", "c"]], k=1))
        ['b', 'a', 'c']
    """
    scores: dict[str, float] = {}
    for ranked in lists:
        for rank, item_id in enumerate(ranked, start=1):
            scores[item_id] = scores.get(item_id, 0.0) + 1 / (k + rank)
    return dict(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0])))


def interleaved(
    lists: Sequence[Sequence[str]], weights: Sequence[float], *, limit: int
) -> list[tuple[str, int]]:
    """Return items and the list that each was taken from, lists in proportion to their weights.

    The next item comes from the list whose weight by the items it has given, and this one, is
    largest (D'Hondt's rule, which seats are given by); the first list wins a tie. An item that
    several lists have counts for the one that gives it first.

    Args:
        lists: item ids, best first.
        weights: of the lists, > 0.
        limit: items at most.

    Example:
        >>> interleaved([["a", "b", "c"], ["x", "a"]], [2, 1], limit=4)
        [('a', 0), ('b', 0), ('x', 1), ('c', 0)]
    """
    waiting = [iter(ranked) for ranked in lists]
    given = [0] * len(lists)
    open_lists = set(range(len(lists)))
    taken: dict[str, int] = {}
    while open_lists and len(taken) < limit:
        number = min(open_lists, key=lambda n: (-weights[n] / (given[n] + 1), n))
        item_id = next((item_id for item_id in waiting[number] if item_id not in taken), None)
        if item_id is None:
            open_lists.discard(number)
            continue
        taken[item_id] = number
        given[number] += 1
    return list(taken.items())
