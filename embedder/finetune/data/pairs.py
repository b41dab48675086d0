"""Training pairs: queries with targets that answer them, and which of them are no negatives.

Shape legend: B = pairs in the batch, H = hard negatives of all of them
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from embedder.content import Content


@dataclass(frozen=True, slots=True)
class Negative:
    """A target that comes close to a query and does not answer it."""

    content: Content
    key: str
    """Its target key."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A query with a target that answers it."""

    query: Content
    target: Content
    query_key: str
    """Pairs with equal query keys ask the same: each one's target is right for the other."""

    target_key: str
    """Pairs with equal target keys show the same: each one's query is right for the other."""

    pair_id: str = ""
    """Identity over stages and runs; empty where nothing is stored about the pair."""

    source: str = ""
    """Where it comes from. Keys are compared within one source alone; the model version's manifest
    may hold instructions of its own for a source."""

    answers: frozenset[str] = frozenset()
    """Keys of more targets that answer the query, or that must not be held against it."""

    negatives: tuple[Negative, ...] = ()
    """Hard negatives of this query, as mined with some earlier state of the model."""


def false_negatives(batch: Sequence[Pair]) -> torch.Tensor:
    """Return [B, B], True where two pairs `agree`; symmetric.

    Looked up by key: large batches of short vectors would wait for a comparison of each with each.
    """
    asking: dict[str, list[int]] = {}
    showing: dict[str, list[int]] = {}
    for number, pair in enumerate(batch):
        asking.setdefault(pair.query_key, []).append(number)
        showing.setdefault(pair.target_key, []).append(number)
    flags = torch.zeros(len(batch), len(batch), dtype=torch.bool)
    for number, pair in enumerate(batch):
        flags[number, asking[pair.query_key]] = True
        for key in {pair.target_key, *pair.answers} & showing.keys():
            flags[number, showing[key]] = True
    return flags | flags.T


def agree(one: Pair, other: Pair) -> bool:
    """Whether the target of either answers the query of the other; they are of one source."""
    return (
        one.query_key == other.query_key
        or one.target_key == other.target_key
        or other.target_key in one.answers
        or one.target_key in other.answers
    )


def foreign_negatives(batch: Sequence[Pair]) -> torch.Tensor:
    """Return [B, H], True where a column's hard negative is of another query than the row's.

    That it is wrong for the row's query as well, nobody has checked: near a query the answers of
    similar ones are crowded.
    """
    owners = [pair.query_key for pair in batch for _ in pair.negatives]
    flags = [[pair.query_key != owner for owner in owners] for pair in batch]
    return torch.tensor(flags, dtype=torch.bool)
