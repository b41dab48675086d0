"""Teaches every item where behaviour puts it, and to be told from the other items' places there.

`embedder.finetune.training.sequence_objective` reads the items of users' sequences; here each item
that is read is another one, so a step teaches more places. The cosine alone (its ID-to-item loss)
is soon content with the middle of all places; that an item must find its own among those of the
batch is what makes it learn the difference. Both are our reconstruction of what SAIL-Embedding
(section 3.3.5) leaves open.

Shape legend: B = items of the batch, D = embedding dimension
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.finetune.training.config import PlaceObjectiveConfig
from embedder.finetune.training.sequence_objective import id_loss


class PlaceObjective:
    """An `item_objectives.ItemObjective`: items drawn by the square root of how many like them."""

    def __init__(
        self,
        contents: Mapping[str, Content],
        places: Mapping[str, np.ndarray],
        matrix: Mapping[str, np.ndarray],
        num_users: Mapping[str, int],
        config: PlaceObjectiveConfig,
    ) -> None:
        """Keep the items that have a place.

        Args:
            contents: by item_id, the items that may be trained on.
            places: by item_id, [D] where the item should lie, L2-normalised.
            matrix: the same without what says how popular the item is.
            num_users: by item_id, how many users like it, >= 1.
            config: how.
        """
        self._config = config
        self._item_ids = sorted(set(places) & set(contents))
        self._contents, self._places, self._likes = contents, places, matrix
        weight = np.sqrt([num_users[item] for item in self._item_ids])
        self._chance = weight / weight.sum()

    @property
    def source(self) -> str:
        """Name of its instructions in the manifest."""
        return self._config.source

    @property
    def gate_weight(self) -> float:
        """Weight of the loss that teaches the gate to answer directly."""
        return self._config.gate_weight

    def drawn(self, step: int) -> list[str]:
        """Return the items of a step; popular ones come up more often."""
        rng = np.random.default_rng([self._config.seed, step])
        picks = rng.choice(
            len(self._item_ids), self._config.batch_size, replace=False, p=self._chance
        )
        return [self._item_ids[pick] for pick in picks]

    def contents_at(self, step: int) -> list[Content]:
        """Return the items of a step, as they are read."""
        return [self._contents[item] for item in self.drawn(step)]

    def losses(self, step: int, item_BD: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return `place` in 1 - cosine and `find` in nats, weighted."""
        config, item_ids = self._config, self.drawn(step)
        place_BD, likes_BD = (
            torch.as_tensor(np.stack([of[item] for item in item_ids])).to(item_BD)
            for of in (self._places, self._likes)
        )
        own_B = torch.arange(len(item_ids), device=item_BD.device)
        logits_BB = item_BD @ likes_BD.T / config.contrastive_temperature
        return {
            "place": config.place_weight * id_loss(item_BD, place_BD),
            "find": config.find_weight * F.cross_entropy(logits_BB, own_B),
        }
