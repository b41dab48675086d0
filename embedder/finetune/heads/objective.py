"""Objective of heads over frozen encoders: contrast of pairs, from features computed before.

Shape legend: B = pairs in the batch, P = pairs, D = embedding dimension
"""

import copy
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from embedder.content import Content, Side
from embedder.finetune.data.pairs import Pair, false_negatives
from embedder.finetune.data.sampler import BatchSampler
from embedder.finetune.heads.feature_table import FeatureTable
from embedder.finetune.training.config import JointConfig
from embedder.finetune.training.loop import Trainer
from embedder.finetune.training.losses import matryoshka_info_nce
from embedder.finetune.training.optimizer import AveragedAdamW
from embedder.pair.config import HeadsConfig
from embedder.pair.heads import Features, Heads

NONE = -1


@dataclass(frozen=True, slots=True, eq=False)
class PairFeatures:
    """Tables of the features of all texts and images of the pairs."""

    texts: dict[Side, FeatureTable]
    """By the side that they are read as; with the same rows."""

    images: FeatureTable


@dataclass(frozen=True, slots=True, eq=False)
class ContentRows:
    """Where contents have their features; -1 where they have no text, or no image."""

    text_P: np.ndarray
    image_P: np.ndarray

    @classmethod
    def of(cls, contents: Sequence[Content], features: PairFeatures) -> "ContentRows":
        """Look the contents up."""
        texts, images = features.texts["query"].row_of, features.images.row_of
        return cls(
            np.array([texts[one.text] if one.text else NONE for one in contents]),
            np.array([NONE if one.image is None else images[image_key(one)] for one in contents]),
        )

    def at(self, numbers: np.ndarray) -> "ContentRows":
        """Return the rows of some contents."""
        return ContentRows(self.text_P[numbers], self.image_P[numbers])

    def alike(self) -> np.ndarray:
        """Return [P, P] True where two contents are the same."""
        same = [rows_P[:, None] == rows_P[None, :] for rows_P in (self.text_P, self.image_P)]
        return np.logical_and(*same)

    def features(self, tables: PairFeatures, side: Side) -> Features:
        """Read the features of all of them, texts as those of a side."""
        has_text, has_image = (np.flatnonzero(rows != NONE) for rows in (self.text_P, self.image_P))
        return Features(
            len(self.text_P),
            torch.from_numpy(has_text),
            tables.texts[side].at(self.text_P[has_text]),
            torch.from_numpy(has_image),
            tables.images.at(self.image_P[has_image]),
        )


@dataclass(frozen=True, slots=True)
class _Numbered:
    source: str
    number: int


class HeadsObjective:
    """InfoNCE over every prefix, on a batch of pairs of one source a step; a `loop.Objective`.

    What answers the query by any pair of its source is no negative of it, nor is a content that is
    the same to the last bit, whatever its pair calls it.
    """

    num_updates = 1

    def __init__(
        self,
        heads: Heads,
        pairs: Sequence[Pair],
        features: PairFeatures,
        config: JointConfig,
        *,
        dims: Sequence[int],
    ) -> None:
        """Sort the pairs by source; arguments and errors as of `heads_trainer`."""
        self._heads, self._pairs, self._features = heads, pairs, features
        self._config, self._dims = config, dims
        self._queries = ContentRows.of([pair.query for pair in pairs], features)
        self._targets = ContentRows.of([pair.target for pair in pairs], features)
        self._batches = BatchSampler(
            [_Numbered(pair.source, number) for number, pair in enumerate(pairs)],
            batch_size=config.batch_size,
            seed=config.seed,
            source_weights=config.source_weights,
        )

    def backward(self, step: int, update: int) -> dict[str, float]:
        """Add the gradients of a step to the parameters', and return its loss."""
        sides: tuple[Side, Side] = ("query", "item")
        if self._config.swap_roles and step % 2 == 1:  # what is read as what; the loss is symmetric
            sides = ("item", "query")
        numbers = np.array([one.number for one in self._batches.at(step)])
        queries, targets = self._queries.at(numbers), self._targets.at(numbers)
        same_BB = torch.from_numpy(queries.alike() | targets.alike())
        with torch.random.fork_rng():  # of dropout: a step depends on its number alone
            torch.manual_seed(_seed(self._config.seed, step))
            query_BD, target_BD = (
                self._heads(rows.features(self._features, side))
                for rows, side in zip((queries, targets), sides, strict=True)
            )
        loss = self._config.loss.direct_direct * matryoshka_info_nce(
            query_BD,
            target_BD,
            dims=self._dims,
            contrastive_temperature=self._config.loss.contrastive_temperature,
            is_false_negative_BN=false_negatives([self._pairs[n] for n in numbers]) | same_BB,
            false_negative_margin=self._config.loss.false_negative_margin,
        )
        loss.backward()
        return {"direct_direct": loss.item()}


class TrainedHeads:
    """Heads that are being trained; a `loop.Trainable`."""

    def __init__(self, heads: Heads) -> None:
        """Mark all of their weights, in place."""
        self.heads = heads.train().requires_grad_(True)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield the weights."""
        return self.heads.parameters()

    def averaged(self, optimizer: AveragedAdamW) -> Heads:
        """Return a copy with the averaged weights."""
        copied = copy.deepcopy(self.heads).eval().requires_grad_(False)
        for parameter, average in zip(copied.parameters(), optimizer.average, strict=True):
            parameter.copy_(average)
        return copied


def heads_trainer(
    pairs: Sequence[Pair],
    features: PairFeatures,
    config: JointConfig,
    heads_config: HeadsConfig,
    *,
    start: Heads | None = None,
) -> Trainer[Heads]:
    """Return the training of heads on pairs.

    Args:
        pairs: what to learn, of any number of sources.
        features: of all of their contents.
        config: how; of its losses `direct_direct` alone.
        heads_config: sizes, and how often each pair is learned from.
        start: heads of an earlier version to go on from, with their sizes and the statistics of
            their features; changed in place. None: new ones.

    Raises:
        ValueError: no pair has a text, or none an image; a source has fewer pairs than a batch
            holds, or `source_weights` names other sources.
    """
    if not len(features.images.row_of) or not len(features.texts["query"].row_of):
        raise ValueError(
            "heads need pairs with texts and with images, got none of one of them; land items with "
            "titles and images"
        )
    config = replace(config, num_steps=num_steps(pairs, config, heads_config))
    heads = start or _new_heads(features, heads_config, seed=config.seed)
    dims = trained_dims(heads_config, heads.dim)
    objective = HeadsObjective(heads, pairs, features, config, dims=dims)
    return Trainer(TrainedHeads(heads), config, objective)


def trained_dims(config: HeadsConfig, dim: int) -> tuple[int, ...]:
    """Return the prefixes that heads of a dimension learn, ascending, the whole vector last."""
    return (*(prefix for prefix in config.prefixes if prefix < dim), dim)


def num_steps(pairs: Iterable[Pair], config: JointConfig, heads_config: HeadsConfig) -> int:
    """Return the steps in which every batch of every source comes so often, but the limit's."""
    num_pairs: dict[str, int] = {}
    for pair in pairs:
        num_pairs[pair.source] = num_pairs.get(pair.source, 0) + 1
    an_epoch = sum(number // config.batch_size for number in num_pairs.values())
    return min(config.num_steps, max(1, heads_config.num_epochs * an_epoch))


def image_key(content: Content) -> str:
    """Return the key of a content's image in a table of features."""
    assert content.image is not None
    return hashlib.blake2b(content.image, digest_size=16).hexdigest()


def _new_heads(features: PairFeatures, config: HeadsConfig, *, seed: int) -> Heads:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        heads = Heads(
            text_features=features.texts["query"].values_NF.shape[1],
            image_features=features.images.values_NF.shape[1],
            hidden_size=config.hidden_size,
            dim=config.dim,
            dropout=config.dropout,
        )
    heads.text.centre(*features.texts["query"].statistics())
    heads.image.centre(*features.images.statistics())
    return heads


def _seed(seed: int, step: int) -> int:
    digest = hashlib.blake2b(f"{seed}/dropout/{step}".encode(), digest_size=7).digest()
    return int.from_bytes(digest)
