"""The model that every variant of the reasoning benchmark starts from: nano, sent to school.

Nano has never met most words of the riddles. A large model knows words, facts and sums before it is
fine-tuned; so that the variants differ in how they reason and not in who learns to spell first,
nano is taught these once: its vocabulary is extended, and it answers lists of single facts ("the
wings of a fly, 4 with 2"). It sees no riddle and nothing that is inferred from two facts.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from catalog.bazaar import riddles
from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.finetune.records import Lesson
from embedder.finetune.records import Path as RationalePath
from embedder.finetune.training.image_features import PictureCache
from embedder.finetune.training.joint import JointConfig, JointTrainer
from embedder.finetune.training.joint_loss import ObjectiveConfig
from embedder.finetune.training.loop import train
from embedder.finetune.training.vocabulary import with_vocabulary
from embedder.model.checkpoint import load
from embedder.nano import curriculum
from embedder.nano.checkpoint import MANIFEST, save_checkpoint

NUM_EXERCISES = 20_000
NUM_SHOP_LESSONS = 4_000
MAX_FACTS = 4  # of an exercise
MAX_TOKENS = 4_096  # more than it takes to make every word of the riddles one token


def schooled(folder: Path, *, num_steps: int, device: str, seed: int = 0) -> Path:
    """The version folder of nano after school; made when it is missing, resumed when it was killed.

    Args:
        folder: of the school.
        num_steps: optimiser steps.
        device: a torch device.
        seed: of the new words' pieces, the exercises and their order.
    """
    version = folder / "version"
    if (version / "manifest.json").exists():
        return version
    checkpoint = with_vocabulary(
        load("nano", device=device), sentences(seed=seed), num_tokens=MAX_TOKENS, min_count=1
    )
    config = JointConfig(
        num_steps=num_steps,
        objective=ObjectiveConfig(reason_direct=0.5, false_negative_margin=None),
        learning_rate=2e-3,
        warmup_steps=100,
        average_decay=0.98,
        train_pictures=False,
        source_weights={"facts": 4.0, "shop": 1.0},
        seed=seed,
    )
    pictures = PictureCache(checkpoint.backbone, checkpoint.inputs)
    lessons = [*exercises(NUM_EXERCISES, seed=seed), *shop_lessons(NUM_SHOP_LESSONS, seed=seed)]
    trainer = JointTrainer(checkpoint, lessons, config, pictures=pictures)
    backbone = train(trainer, folder, save_every=50, stage="school")
    save_checkpoint(
        backbone.model, checkpoint.inputs, version, manifest={**MANIFEST, "name": "schooled"}
    )
    return version


def exercises(num_exercises: int, *, seed: int) -> list[Lesson]:
    """Lists of one to four single facts that are asked for, and the sentences that tell them."""
    source = random.Random(f"school/{seed}")
    facts = riddles.facts()
    lessons = []
    for number in range(num_exercises):
        chosen = source.sample(facts, source.randint(1, MAX_FACTS))
        asked = ", ".join(fact.question for fact in chosen)
        told = " ".join(fact.value for fact in chosen)
        path = RationalePath(". ".join(fact.sentence for fact in chosen), told, 1.0, "school")
        pair = Pair(
            Content(asked),
            Content(told),
            query_key=asked,
            target_key=told,
            source="facts",
            pair_id=f"fact{number:05d}",
        )
        lessons.append(Lesson(pair, (path,)))
    return lessons


def shop_lessons(num_lessons: int, *, seed: int) -> list[Lesson]:
    """What nano was trained on, so that it goes on knowing it."""
    lessons = []
    for number, one in enumerate(curriculum.lessons(num_lessons, seed=seed, step=0)):
        pair = Pair(
            one.query,
            one.item,
            query_key=one.query_summary,
            target_key=one.product.name,
            source="shop",
            pair_id=f"shop{number:05d}",
        )
        path = RationalePath(one.query_rationale, one.query_summary, 1.0, "school")
        lessons.append(Lesson(pair, (path,)))
    return lessons


def sentences(*, seed: int) -> Iterator[str]:
    """Texts that have every word of the riddles' facts, as it stands behind another one."""
    for exercise in exercises(2_000, seed=seed):
        yield f"{exercise.pair.query.text}. {exercise.query_paths[0].text}"
