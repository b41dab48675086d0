"""Negatives of judging: other items for a pair's query, other queries for its target."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from embedder.content import Content
from embedder.finetune.data.pairs import Pair, agree


@dataclass(frozen=True, slots=True)
class Negatives:
    """Contents that do not belong to a pair, the hardest first."""

    items: tuple[Content, ...] = ()
    """Do not answer the pair's query."""

    queries: tuple[Content, ...] = ()
    """Are not answered by the pair's target."""


def negatives_of(pairs: Sequence[Pair], *, num_others: int, seed: int) -> dict[str, Negatives]:
    """Return negatives for every pair, by pair_id: its hard ones, then others of its source.

    It depends on the pair, on the other pairs of its source as a set, and on the seed. It is
    shorter than asked where the pairs that were drawn (four times as many as are needed) belong
    together too often.

    Args:
        pairs: with ids of their own; those of one source are each other's negatives, except where
            their keys or answers say that they belong together.
        num_others: of items and of queries.
        seed: decides which others are drawn.
    """
    of_source: dict[str, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.pair_id):
        of_source.setdefault(pair.source, []).append(pair)
    return {
        pair.pair_id: _negatives(pair, of_source[pair.source], num_others, seed) for pair in pairs
    }


def _negatives(pair: Pair, pool: Sequence[Pair], num_others: int, seed: int) -> Negatives:
    rng = random.Random(f"{seed}/{pair.pair_id}")
    drawn = rng.sample(pool, min(len(pool), 4 * num_others))
    apart = [other for other in drawn if not agree(pair, other)]
    items = {negative.key: negative.content for negative in pair.negatives}
    items |= {other.target_key: other.target for other in apart if other.target_key not in items}
    queries = {other.query_key: other.query for other in apart}
    return Negatives(tuple(items.values())[:num_others], tuple(queries.values())[:num_others])
