"""What a history is searched by, and which items an answer to it leaves out.

Shape legend: H = items of a history, D = embedding dimension.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from features.history_store import UserHistory
from features.profile import ProfileConfig, profile_vector
from recall.candidates import FoundInterest, Seen
from recall.filters import MAX_IDS
from recall.interests import interests
from recall.retrieval import Seed


def newest_known(
    history: Sequence[str],
    vectors_of: Callable[[list[str]], Mapping[str, np.ndarray]],
    *,
    limit: int,
) -> tuple[list[str], list[np.ndarray]]:
    """Return the newest items of a history that a version holds, and their [D] vectors.

    Args:
        history: item ids, newest first.
        vectors_of: the vectors of those items that the version holds.
        limit: how many are wanted; fewer come only when the version holds no more.
    """
    known, vectors = list[str](), list[np.ndarray]()
    begin, width = 0, limit  # twice as many each time: most histories end with the first
    while begin < len(history) and len(known) < limit:
        part = history[begin : begin + width]
        held = vectors_of(list(dict.fromkeys(part)))
        here = [item_id for item_id in part if item_id in held][: limit - len(known)]
        known += here
        vectors += [held[item_id] for item_id in here]
        begin, width = begin + width, min(2 * width, MAX_IDS)
    return known, vectors


def history_seeds(
    known: Sequence[str],
    vectors_HD: np.ndarray,
    config: ProfileConfig,
    *,
    max_interests: int,
    centre_D: np.ndarray | None = None,
) -> tuple[list[Seed], list[FoundInterest]]:
    """Return the vectors that a history is searched by, and the interests that they stand for.

    Args:
        known: the items of the history, newest first.
        vectors_HD: theirs.
        config: how a history becomes a vector.
        max_interests: with 1 the only seed is the weighted mean, which stands for no interest.
        centre_D: taken off what is searched by, as of `features.profile.profile_vector`.
    """

    def vector(rows_HD: np.ndarray) -> np.ndarray:
        return profile_vector(rows_HD, half_life=config.half_life, centre_D=centre_D)

    if max_interests == 1:
        return [Seed(vector(vectors_HD), "profile")], []
    found = interests(vectors_HD, half_life=config.half_life, max_interests=max_interests)
    searched = [vectors_HD[i.row] for i in found]
    if centre_D is not None:
        searched = [vector(vectors_HD[[i.row]]) for i in found]
    seeds = [
        Seed(vector_D, "interest", i.weight, known[i.row])
        for vector_D, i in zip(searched, found, strict=True)
    ]
    return seeds, [FoundInterest(known[i.row], i.weight, i.size) for i in found]


def seen_items(history: UserHistory, seen: Seen, known: Sequence[str]) -> list[str]:
    """Return the items to leave out, those that shaped the profile first, 10,000 at most."""
    lists: dict[Seen, list[list[str]]] = {
        "none": [],
        "liked": [[*known], history.liked],
        "acted": [[*known], history.liked, history.acted],
        "shown": [[*known], history.liked, history.acted, history.shown],
    }
    return list(dict.fromkeys(item for items in lists[seen] for item in items))[:MAX_IDS]
