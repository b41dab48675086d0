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
from embedder.finetune.records import TrainingExample, WeightedRationale
from embedder.finetune.training.config import JointConfig, JointLossConfig
from embedder.finetune.training.image_features import ImageFeatureCache
from embedder.finetune.training.joint import joint_trainer
from embedder.finetune.training.vocabulary import with_vocabulary
from embedder.model.checkpoint import load
from embedder.nano import curriculum
from embedder.nano.checkpoint import MANIFEST, save_checkpoint

NUM_EXERCISES = 20_000
NUM_SHOP_EXAMPLES = 4_000
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
        loss=JointLossConfig(reason_direct=0.5, false_negative_margin=None),
        learning_rate=2e-3,
        warmup_steps=100,
        average_decay=0.98,
        train_vision_encoder=False,
        source_weights={"facts": 4.0, "shop": 1.0},
        seed=seed,
    )
    features = ImageFeatureCache(checkpoint.backbone, checkpoint.inputs)
    examples = [*exercises(NUM_EXERCISES, seed=seed), *shop_examples(NUM_SHOP_EXAMPLES, seed=seed)]
    trainer = joint_trainer(checkpoint, examples, config, image_features=features)
    backbone = trainer.train(folder, save_every=50, stage="school")
    save_checkpoint(
        backbone.model, checkpoint.inputs, version, manifest={**MANIFEST, "name": "schooled"}
    )
    return version


def exercises(num_exercises: int, *, seed: int) -> list[TrainingExample]:
    """Lists of one to four single facts that are asked for, and the sentences that tell them."""
    rng = random.Random(f"school/{seed}")
    facts = riddles.facts()
    examples = []
    for number in range(num_exercises):
        chosen = rng.sample(facts, rng.randint(1, MAX_FACTS))
        asked = ", ".join(fact.question for fact in chosen)
        told = " ".join(fact.value for fact in chosen)
        path = WeightedRationale(". ".join(fact.sentence for fact in chosen), told, 1.0, "school")
        pair = Pair(
            Content(asked),
            Content(told),
            query_key=asked,
            target_key=told,
            source="facts",
            pair_id=f"fact{number:05d}",
        )
        examples.append(TrainingExample(pair, (path,)))
    return examples


def shop_examples(num_examples: int, *, seed: int) -> list[TrainingExample]:
    """What nano was trained on, so that it goes on knowing it."""
    examples = []
    for number, one in enumerate(curriculum.curriculum_pairs(num_examples, seed=seed, step=0)):
        pair = Pair(
            one.query,
            one.item,
            query_key=one.query_summary,
            target_key=one.product.name,
            source="shop",
            pair_id=f"shop{number:05d}",
        )
        path = WeightedRationale(one.query_rationale, one.query_summary, 1.0, "school")
        examples.append(TrainingExample(pair, (path,)))
    return examples


def sentences(*, seed: int) -> Iterator[str]:
    """Texts that have every word of the riddles' facts, as it stands behind another one."""
    for exercise in exercises(2_000, seed=seed):
        yield f"{exercise.pair.query.text}. {exercise.query_rationales[0].text}"
