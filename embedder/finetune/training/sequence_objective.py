"""Objective of the behaviour space: find what a user likes next, lie where behaviour puts an item.

SAIL-Embedding (section 3.3.5) trains two things after the content: sequence-to-item, where the mean
of the last items finds the next one, and ID-to-item, where an item comes to lie where behaviour
puts it. Here both are one objective beside the content's, with an
instruction of its own, so that one version offers a content space and a behaviour space and neither
is paid for with the other. The content batches of the same step are its auxiliary task. Whether
SAIL's ID loss is a cosine is not public; ours is a reconstruction.

Shape legend:
  B = sequences in the batch, N = distinct items of them, V = those with a behaviour vector,
  D = embedding dimension
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.finetune.data.sampler import epoch_rows
from embedder.finetune.training.config import SequenceObjectiveConfig
from embedder.finetune.training.losses import info_nce

Followed = tuple[list[str], str]
"""Items that a user liked, and the one that followed."""


class SequenceObjective:
    """Sequence-to-item and ID-to-item losses; an `item_objectives.ItemObjective`."""

    def __init__(
        self,
        sequences: pl.DataFrame,
        contents: Mapping[str, Content],
        id_vectors: Mapping[str, np.ndarray],
        config: SequenceObjectiveConfig,
    ) -> None:
        """Keep the sequences whose target and at least one item have a content.

        Args:
            sequences: see `embedder.finetune.data.sequences.sequences`.
            contents: by item_id, the items that may be trained on.
            id_vectors: by item_id, [D] where behaviour puts the item in the model's space, see
                `embedder.finetune.data.behaviour_targets.procrustes_align`. Items without one only
                take part in sequences.
            config: how.

        Raises:
            ValueError: fewer sequences are left than a batch holds.
        """
        self._config, self._contents, self._id_vectors = config, contents, id_vectors
        self._sequences: list[Followed] = [
            (known, target)
            for items, target in sequences.select("items", "target").iter_rows()
            if target in contents and (known := [item for item in items if item in contents])
        ]
        if len(self._sequences) < config.batch_size:
            raise ValueError(
                f"a batch needs {config.batch_size} sequences whose items have contents, got "
                f"{len(self._sequences)}; lower batch_size or leave the objective out"
            )

    @property
    def source(self) -> str:
        """Name of its instructions in the manifest."""
        return self._config.source

    @property
    def gate_weight(self) -> float:
        """Weight of the loss that teaches the gate to answer directly."""
        return self._config.gate_weight

    def contents_at(self, step: int) -> list[Content]:
        """Return the items of the step's sequences, by id."""
        return [self._contents[item] for item in _items(self._batch_at(step))]

    def losses(self, step: int, item_ND: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return `sequence`, weighted, in nats, and `id`, weighted, in 1 - cosine."""
        config, batch = self._config, self._batch_at(step)
        item_ids = _items(batch)
        row_of = {item: row for row, item in enumerate(item_ids)}
        sequence = sequence_loss(
            item_ND,
            [[row_of[item] for item in items] for items, _ in batch],
            [row_of[target] for _, target in batch],
            dims=config.dims or (item_ND.shape[1],),
            contrastive_temperature=config.contrastive_temperature,
        )
        return {
            "sequence": config.sequence_weight * sequence,
            "id": config.id_weight * self._id_loss(item_ids, item_ND),
        }

    def _batch_at(self, step: int) -> list[Followed]:
        config = self._config
        rows = epoch_rows(
            len(self._sequences), config.batch_size, step, seed=f"{config.seed}/{config.source}"
        )
        return [self._sequences[row] for row in rows]

    def _id_loss(self, item_ids: Sequence[str], item_ND: torch.Tensor) -> torch.Tensor:
        known = [row for row, item in enumerate(item_ids) if item in self._id_vectors]
        vectors = [torch.as_tensor(self._id_vectors[item_ids[row]]) for row in known]
        if not vectors:
            return item_ND.new_zeros(())
        return id_loss(item_ND[known], torch.stack(vectors).to(item_ND))


def _items(batch: Sequence[Followed]) -> list[str]:
    return sorted({item for items, target in batch for item in (*items, target)})


def sequence_loss(
    item_ND: torch.Tensor,
    histories: Sequence[Sequence[int]],
    targets: Sequence[int],
    *,
    dims: Sequence[int],
    contrastive_temperature: float,
) -> torch.Tensor:
    """Sequence-to-item InfoNCE: the mean of a user's items finds the item that followed.

    (`losses.info_nce` with the mean of a history as the query, in the manner of SAIL-Embedding,
    whose own formula is not public.) Each prefix is normalised before the mean and after it, as a
    service does that averages stored vectors of that length. Another row's target is no negative
    where it is the row's own target or stands in the row's history.

    Args:
        item_ND: embeddings of distinct items, L2-normalised.
        histories: rows of `item_ND` for each sequence, at least one each.
        targets: row of `item_ND` that followed each sequence.
        dims: prefixes; their losses are averaged.
        contrastive_temperature: divides the cosines; dimensionless, > 0.

    Returns:
        Scalar loss in nats, averaged over sequences and prefixes.
    """
    share_BN = torch.zeros(len(histories), item_ND.shape[0], device=item_ND.device)
    for row, history in enumerate(histories):
        share_BN[row, list(history)] = 1 / len(history)
    left_out_BB = torch.tensor(
        [
            [column == own or column in history for column in targets]
            for history, own in zip(histories, targets, strict=True)
        ],
        device=item_ND.device,
    )
    losses = []
    for dim in dims:
        prefix_ND = F.normalize(item_ND[:, :dim], dim=-1)
        losses.append(
            info_nce(
                F.normalize(share_BN.to(prefix_ND) @ prefix_ND, dim=-1),
                prefix_ND[list(targets)],
                contrastive_temperature=contrastive_temperature,
                is_false_negative_BN=left_out_BB,
            )
        )
    return torch.stack(losses).mean()


def id_loss(item_VD: torch.Tensor, target_VD: torch.Tensor) -> torch.Tensor:
    """ID-to-item loss: mean of 1 - cosine to where behaviour puts an item, in [0, 2].

    (torch's CosineEmbeddingLoss for positive pairs; that SAIL's is one is our guess.)
    """
    return (1 - F.cosine_similarity(item_VD, target_VD, dim=-1)).mean()
