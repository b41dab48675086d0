"""The vision encoder learns what an image shows: from EfficientNet-Lite0, and from captions.

Three losses at once. What the tokens of an image are on average is led by a head, which is thrown
away, to the teacher's features, by their cosines and by the rows of their similarities. The vector
of an image, read through the text layers, is to be nearest to its caption's (InfoNCE). And the
vector of an image beside a text, as most items are, is to lie between the caption's and the text's:
otherwise nothing keeps an image's tokens from drawing all attention, and the text is lost. The text
side stays as it is, so texts keep their vectors.

Shape legend: N = all images, B = images of a batch, F = size of the teacher's features, P = those
that are kept, T = image tokens, H = hidden size, D = embedding dimension
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from embedder.finetune.training.config import TrainingConfig
from embedder.finetune.training.loop import Trainer
from embedder.finetune.training.losses import matryoshka_info_nce
from embedder.finetune.training.optimizer import AveragedAdamW
from embedder.model.vision_encoder import ImageFeatures
from embedder.prompting.prompts import Prompts
from embedder.prompting.sample import Sample
from embedder.small.architecture import HIDDEN_SIZE, MANIFEST
from embedder.small.components import components
from embedder.small.distillation import block_rows, similarity_divergence
from embedder.small.student import Student

KEPT = 256
"""P; principal components of the teacher's features."""

MERGED = 4
"""Patches that become a token."""

SAVE_EVERY = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class SightConfig(TrainingConfig):
    """How the vision encoder is trained."""

    batch_blocks: int = 32
    """Blocks of images that resemble each other, a step."""

    features: float = 1.0
    """Weight of what the teacher's features are matched by."""

    contrast: float = 1.0
    """Weight of the contrast between images and captions."""

    fusion: float = 4.0
    """Weight of where images beside texts lie."""

    temperature: float = 0.05
    """Divides all cosines."""


@dataclass(frozen=True, slots=True)
class ImageTable:
    """What is known of images."""

    samples: Sequence[Sample]
    """How they are read, with answers."""

    taught_NP: torch.Tensor
    """What the teacher makes of them; see `kept_features`."""

    captions: Sequence[str]
    caption_ND: torch.Tensor
    """The student's vectors of the captions."""

    beside_samples: Sequence[Sample]
    """The same images, each beside a text that is not its caption."""

    text_ND: torch.Tensor
    """The student's vectors of these texts."""


def kept_features(features_NF: torch.Tensor) -> torch.Tensor:
    """Return [N, P] principal components, each divided by the root of its deviation.

    So what is rare counts for more than in the features themselves, and noise for less than in
    whitened ones.
    """
    return components(features_NF, KEPT, power=0.5)


class SightTraining:
    """A student whose vision encoder is trained, with the head; a `loop.Trainable`."""

    def __init__(self, student: Student, seed: int) -> None:
        """Freeze the text side, in place, and make a head.

        Args:
            student: the model.
            seed: of the head.
        """
        self.student = student
        student.backbone.requires_grad_(False)
        self.visual = student.backbone.model.model.visual.requires_grad_(True)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.head = torch.nn.Linear(2 * HIDDEN_SIZE, KEPT)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield the weights of the vision encoder and of the head."""
        yield from self.visual.parameters()
        yield from self.head.parameters()

    @torch.no_grad()
    def averaged(self, optimizer: AveragedAdamW) -> Student:
        """Return a copy of the student with the averaged weights, without the head."""
        backbone = copy.deepcopy(self.student.backbone).eval()
        visual = backbone.model.model.visual
        for weight, average in zip(visual.parameters(), optimizer.average, strict=False):
            weight.copy_(average)
        backbone.requires_grad_(False)
        return Student(backbone, self.student.inputs)


class SightObjective:
    """What a batch of images teaches; a `loop.Objective`."""

    num_updates = 1

    def __init__(
        self, training: SightTraining, table: ImageTable, config: SightConfig, *, block: int
    ) -> None:
        """Take what is learnt from.

        Args:
            training: what is trained.
            table: of the images.
            config: how.
            block: images that stay together in a batch.
        """
        self._training, self._table, self._config = training, table, config
        self._block = block

    def backward(self, step: int, update: int) -> dict[str, float]:
        """Add the gradients of a step's batch, and return its losses."""
        rows_B = block_rows(
            len(self._table.samples),
            step,
            block=self._block,
            batch_blocks=self._config.batch_blocks,
            seed=self._config.seed,
        )
        losses = self.losses(rows_B)
        torch.stack(list(losses.values())).sum().backward()
        return {name: loss.item() for name, loss in losses.items()}

    def losses(self, rows_B: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the parts of the loss, weighted: features (cosines, rows), contrast, fusion."""
        config, table, student = self._config, self._table, self._training.student
        # Images of one grid stand side by side, which the vision encoder takes at once.
        rows = sorted(rows_B.tolist(), key=lambda row: table.samples[row].grids)
        prompts = student.inputs.prompts(
            [table.samples[row] for row in rows], device=student.backbone.device
        )
        assert prompts.patches_PV is not None
        images = student.backbone.images.encode(prompts.patches_PV, prompts.grids)
        told_BP = F.normalize(self._training.head(pooled(images, prompts)), dim=-1)
        taught_BP = F.normalize(table.taught_NP[rows], dim=-1)
        distance = 1 - (told_BP * taught_BP).sum(dim=1).mean()
        divergence = similarity_divergence(
            told_BP @ told_BP.T, taught_BP @ taught_BP.T, temperature=config.temperature
        )
        captions = np.array([table.captions[row] for row in rows])
        contrast = matryoshka_info_nce(
            student.end_vectors(prompts, images),
            table.caption_ND[rows],
            dims=MANIFEST.dims,
            contrastive_temperature=config.temperature,
            is_false_negative_BN=torch.from_numpy(captions[:, None] == captions),
        )
        return {
            "distance": config.features * distance,
            "divergence": config.features * divergence,
            "contrast": config.contrast * contrast,
            "fusion": config.fusion * self._fusion(rows, images),
        }

    def _fusion(self, rows: list[int], images: ImageFeatures) -> torch.Tensor:
        """Return how far images beside texts are from the middle of caption and text, in [0, 2]."""
        table, student = self._table, self._training.student
        beside = student.inputs.prompts(
            [table.beside_samples[row] for row in rows], device=student.backbone.device
        )
        middle_BD = F.normalize(table.caption_ND[rows] + table.text_ND[rows], dim=-1)
        return 1 - (student.end_vectors(beside, images) * middle_BD).sum(dim=1).mean()


def pooled(images: ImageFeatures, prompts: Prompts) -> torch.Tensor:
    """Return [B, 2 H] means of each image's tokens, and of what it adds to the first layer's."""
    lengths = torch.tensor([np.prod(grid) // MERGED for grid in prompts.grids])
    owner_T = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    both_T = torch.cat([images.tokens_TH, *images.deepstack], dim=1)
    summed = both_T.new_zeros(len(lengths), both_T.shape[1]).index_add_(0, owner_T, both_T)
    return summed / lengths[:, None]


def train_sight(
    student: Student,
    table: ImageTable,
    config: SightConfig,
    folder: Path,
    *,
    block: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Student:
    """Run or continue the training in a folder, and return the student with averaged weights."""
    training = SightTraining(student, config.seed)
    trainer = Trainer(training, config, SightObjective(training, table, config, block=block))
    return trainer.train(folder, save_every=SAVE_EVERY, stage="sight", progress=progress)
