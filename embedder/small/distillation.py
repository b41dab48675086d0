"""The text side learns which texts are alike: from MiniLM, and from the words that they share.

Cosines of the teacher alone would lose names, by which stories are told apart and which MiniLM
hardly weighs. So what is to be matched is the sum of the teacher's cosine and that of TF-IDF. How
alike a text is to the others of its batch is a distribution, and the student's is brought near the
target's by their Kullback-Leibler divergence: the similarity distillation of WeMM-Embedding's
report, here over texts alone, whose matrix reads the same in both directions.

Every text is read once. What is left in a second pass is to learn the texts by heart: on films,
which it never sees, the student then gets worse again.

Shape legend: N = all texts, B = texts of a batch, F = size of the teacher's vectors,
D = embedding dimension, W = words
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix

from embedder.finetune.training.adapters import TrainedBackbone
from embedder.finetune.training.config import TrainingConfig
from embedder.finetune.training.loop import Trainer
from embedder.prompting.sample import Sample
from embedder.small.architecture import MANIFEST
from embedder.small.student import Student

SAVE_EVERY = 50
"""Steps between two saves, and two lines of the log."""

WORD = re.compile(r"[a-z0-9']+")


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillationConfig(TrainingConfig):
    """How the text side is trained."""

    batch_blocks: int = 64
    """Blocks of texts that resemble each other, a step."""

    word_share: float = 1.0
    """How much the cosine of TF-IDF counts beside the teacher's."""

    temperature: float = 0.05
    """Divides all cosines."""


class TextTable:
    """What is known of texts: how they are read, and what they resemble."""

    def __init__(
        self, samples: Sequence[Sample], teacher_NF: torch.Tensor, texts: Sequence[str]
    ) -> None:
        """Keep all of it.

        Args:
            samples: prompts with answers, as they are embedded.
            teacher_NF: the teacher's vectors.
            texts: whose words are counted.
        """
        self.samples = samples
        self._teacher_NF = F.normalize(teacher_NF, dim=-1)
        self._counts_NW = tf_idf(texts)

    def __len__(self) -> int:
        return len(self.samples)

    def similarity(self, rows_B: np.ndarray, *, word_share: float) -> torch.Tensor:
        """Return [B, B] the cosine of the teacher and a share of that of TF-IDF."""
        taught_BF = self._teacher_NF[torch.from_numpy(rows_B)]
        counts_BW = self._counts_NW[rows_B]
        shared_BB = torch.from_numpy((counts_BW @ counts_BW.T).toarray())
        return taught_BF @ taught_BF.T + word_share * shared_BB


def tf_idf(texts: Sequence[str]) -> csr_matrix:
    """Return [N, W] float32 counts of words times their inverse document frequency, of length 1.

    Texts without words are rows of zeros.
    """
    counts = [Counter(WORD.findall(text.lower())) for text in texts]
    num_texts_of = Counter(word for counted in counts for word in counted)
    column_of = {word: column for column, word in enumerate(num_texts_of)}
    starts = np.cumsum([0, *(len(counted) for counted in counts)])
    columns = [column_of[word] for counted in counts for word in counted]
    values = np.array(
        [
            number * math.log(len(texts) / num_texts_of[word])
            for counted in counts
            for word, number in counted.items()
        ],
        dtype=np.float32,
    )
    matrix_NW = csr_matrix((values, columns, starts), shape=(len(texts), len(column_of)))
    length_N = np.sqrt(np.asarray(matrix_NW.multiply(matrix_NW).sum(axis=1)).ravel())
    scale_N = (1 / np.maximum(length_N, 1e-12)).astype(np.float32)
    return matrix_NW.multiply(scale_N[:, None]).tocsr()


class Distillation:
    """What a batch of texts teaches; a `loop.Objective`."""

    num_updates = 1

    def __init__(
        self, student: Student, table: TextTable, config: DistillationConfig, *, block: int
    ) -> None:
        """Take what is learnt from.

        Args:
            student: the model.
            table: of the texts.
            config: how to train.
            block: texts that stay together in a batch.
        """
        self._student, self._table, self._config = student, table, config
        self._block = block

    def backward(self, step: int, update: int) -> dict[str, float]:
        """Add the gradients of a step's batch, and return its loss in nats."""
        rows_B = block_rows(
            len(self._table),
            step,
            block=self._block,
            batch_blocks=self._config.batch_blocks,
            seed=self._config.seed,
        )
        vectors_BD = self._student.vectors([self._table.samples[row] for row in rows_B])
        target_BB = self._table.similarity(rows_B, word_share=self._config.word_share)
        loss = matryoshka_divergence(vectors_BD, target_BB, temperature=self._config.temperature)
        loss.backward()
        return {"similarity": loss.item()}


def block_rows(num_rows: int, step: int, *, block: int, batch_blocks: int, seed: int) -> np.ndarray:
    """Return [B] the rows of a step: whole blocks, whose order is drawn anew for every epoch.

    Args:
        num_rows: of all.
        step: from 0.
        block: rows that stand side by side and stay together.
        batch_blocks: blocks of a batch; all of them where there are fewer.
        seed: of the orders.
    """
    num_blocks = num_rows // block
    batch = min(batch_blocks, num_blocks)
    epoch, place = divmod(step, num_blocks // batch)
    order = np.random.default_rng((seed, epoch)).permutation(num_blocks)
    chosen = order[place * batch : (place + 1) * batch]
    return (chosen[:, None] * block + np.arange(block)).ravel()


def train_texts(
    student: Student,
    table: TextTable,
    config: DistillationConfig,
    folder: Path,
    *,
    block: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Student:
    """Run or continue the training in a folder, and return the student with averaged weights."""
    trained = TrainedBackbone(student.backbone, student.inputs, config)
    trainer = Trainer(trained, config, Distillation(student, table, config, block=block))
    backbone = trainer.train(folder, save_every=SAVE_EVERY, stage="text", progress=progress)
    return Student(backbone, student.inputs)


def matryoshka_divergence(
    vectors_BD: torch.Tensor, target_BB: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Return the mean of `similarity_divergence` over the prefixes that are trained."""
    losses = []
    for dim in MANIFEST.dims:
        prefix_BD = F.normalize(vectors_BD[:, :dim], dim=-1)
        losses.append(
            similarity_divergence(prefix_BD @ prefix_BD.T, target_BB, temperature=temperature)
        )
    return torch.stack(losses).mean()


def similarity_divergence(
    cosine_BB: torch.Tensor, target_BB: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Return how far the rows of a similarity matrix are from those that are to be, in nats.

    A row is the softmax over all others; what is the same on both sides is left out of it. The
    divergence is that of Kullback and Leibler from the target, averaged over the rows.
    """
    own_BB = torch.eye(len(cosine_BB), dtype=torch.bool)
    log_told, log_taught = (
        F.log_softmax((matrix / temperature).masked_fill(own_BB, -1e4), dim=-1)
        for matrix in (cosine_BB, target_BB)
    )
    return F.kl_div(log_told, log_taught, reduction="batchmean", log_target=True)
