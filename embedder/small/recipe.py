"""From texts, images and two teachers to the version that ships; a folder is gone on in.

text_features/   what the text teacher makes of every text, in parts
image_features/  what the image teacher makes of every image
text/, sight/    state and log of each training
checkpoint/      the version
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedder.content import Content
from embedder.nano.checkpoint import save_checkpoint
from embedder.prompting.template import DIRECT, REASON
from embedder.small.architecture import MANIFEST
from embedder.small.distillation import DistillationConfig, TextTable, train_texts
from embedder.small.sight import ImageTable, SightConfig, kept_features, train_sight
from embedder.small.student import Student, bag_of_words, grown
from embedder.small.teacher import image_teacher, table, text_teacher

COUNTED = 16_000
"""Texts that the rarity of word pieces is counted in."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Material:
    """What is learnt from."""

    texts: Sequence[str]
    images: Sequence[bytes]
    captions: Sequence[str]
    """Of the images."""

    text_block: int
    """Texts that stand side by side and resemble each other."""

    image_block: int


@dataclass(frozen=True, slots=True)
class Teachers:
    """Folders of the two models that are learnt from."""

    text: Path
    image: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallConfig:
    """How the small model is trained."""

    text: DistillationConfig = field(
        default_factory=lambda: DistillationConfig(
            num_steps=218,
            learning_rate=3e-4,
            warmup_steps=30,
            weight_decay=0.0,  # of rows of rare words little else would be left
            average_decay=0.98,
            train_vision_encoder=False,
        )
    )
    """Steps for one pass over 56,000 texts, and no more: see `embedder.small.distillation`."""

    sight: SightConfig = field(
        default_factory=lambda: SightConfig(
            num_steps=1_200, learning_rate=1e-3, warmup_steps=50, average_decay=0.99
        )
    )


def train_small(
    material: Material,
    teachers: Teachers,
    folder: Path,
    config: SmallConfig,
    *,
    lineage: Mapping[str, Any],
    progress: Progress = lambda done: None,
) -> Path:
    """Make what is missing in a folder, and return that of the version.

    Args:
        material: what is learnt from; the same whenever the folder is used.
        teachers: whom from.
        folder: of everything that is made.
        config: how.
        lineage: what the manifest says of where the version comes from.
        progress: told how many more texts, images and steps are done.
    """
    # DeepStack adds to image tokens behind the first layer, so there must be a second.
    student = grown(_reader(material, teachers, folder, config.text, progress))
    images = _image_table(student, material, teachers, folder, progress)
    student = train_sight(
        student,
        images,
        config.sight,
        folder / "sight",
        block=material.image_block,
        progress=progress,
    )
    close_gate(student)
    manifest = asdict(MANIFEST) | {"lineage": dict(lineage)}
    checkpoint = folder / "checkpoint"
    save_checkpoint(student.backbone.model, student.inputs, checkpoint, manifest=manifest)
    return checkpoint


def _reader(
    material: Material,
    teachers: Teachers,
    folder: Path,
    config: DistillationConfig,
    progress: Progress,
) -> Student:
    """Return the student that has learnt to read texts."""
    student = bag_of_words(teachers.text, material.texts[:COUNTED])
    taught_NF = table(
        material.texts, text_teacher(teachers.text), folder / "text_features", progress=progress
    )
    samples = [student.sample(Content(text)) for text in material.texts]
    texts = TextTable(samples, taught_NF, material.texts)
    block = material.text_block
    return train_texts(student, texts, config, folder / "text", block=block, progress=progress)


def _image_table(
    student: Student, material: Material, teachers: Teachers, folder: Path, progress: Progress
) -> ImageTable:
    features_NF = table(
        material.images, image_teacher(teachers.image), folder / "image_features", progress=progress
    )
    drawn = np.random.default_rng(0).integers(len(material.texts), size=len(material.images))
    texts = [material.texts[number] for number in drawn]
    return ImageTable(
        [student.sample(Content(image=image)) for image in material.images],
        kept_features(features_NF),
        material.captions,
        _vectors(student, material.captions),
        [student.sample(Content(*both)) for both in zip(texts, material.images, strict=True)],
        _vectors(student, texts),
    )


def _vectors(student: Student, texts: Sequence[str]) -> torch.Tensor:
    with torch.inference_mode():
        found_ND = student.vectors([student.sample(Content(text)) for text in texts])
    return found_ND.clone()


def close_gate(student: Student) -> None:
    """Make both tokens of the gate alike, in place: it says 1/2 to everything.

    That is below the manifest's theta. The token of reasoning is in no text that was learnt from,
    so no vector changes.
    """
    direct, reason = student.inputs.tokenizer.convert_tokens_to_ids([DIRECT, REASON])
    with torch.no_grad():
        rows = student.backbone.model.get_input_embeddings().weight
        rows[reason] = rows[direct]
