"""What contrastive fine-tuning learns from: queries with targets that answer them.

Shape legend: B = pairs in the batch
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from embedder.content import Content


@dataclass(frozen=True, slots=True)
class Pair:
    """A query with a target that answers it."""

    query: Content
    target: Content
    query_key: str
    """Pairs with equal query keys ask the same: each one's target is right for the other."""

    target_key: str
    """Pairs with equal target keys show the same: each one's query is right for the other."""


def false_negatives(batch: Sequence[Pair]) -> torch.Tensor:
    """[B, B] True where the target of a column answers the query of a row; symmetric."""
    return torch.tensor(
        [
            [
                one.query_key == other.query_key or one.target_key == other.target_key
                for other in batch
            ]
            for one in batch
        ]
    )
