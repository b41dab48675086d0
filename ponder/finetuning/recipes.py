"""Named recipes: all that a fine-tune is told beside its data, and what each was measured on.

A recipe is a mapping from options (`ponder.finetuning.options`) to values; what it does not name
has the default of its configuration class. `ponder finetune --recipe NAME` takes one, a TOML file
may start from one and change it, and `--set` changes single values.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedder.pair.version import PAIR as PAIR_BASE
from embedder.pair.version import is_pair
from embedder.version import has_embedding_head, resolve
from ponder.finetuning.config import FinetuneConfig
from ponder.finetuning.options import built, merged, options


@dataclass(frozen=True, slots=True)
class Recipe:
    """Values by option, and the ground for them."""

    measured: str
    """What it was measured on."""

    values: Mapping[str, object]


REASONING = Recipe(
    "nano-base on riddles, which gave the nano that ships: docs/reasoning.md",
    {
        "negatives.num_mined": 3,
        "negatives.trains": False,
        "rationales.sides": ("query",),
        "judging.judge": "self",
        "judging.num_negatives": 3,
        "judging.num_others": 64,
        "selection.min_gain": 0.5,
        "joint.num_steps": 600,
        "joint.batch_size": 64,
        "joint.learning_rate": 1e-3,
        "joint.warmup_steps": 50,
        "joint.average_decay": 0.98,
        "joint.train_vision_encoder": False,
        "joint.loss.reason_direct": 0.5,
        "joint.loss.direct_reason": 0.5,
        "joint.loss.next_token": 3.0,
        "joint.loss.gate": 0.1,
        "joint.loss.false_negative_margin": None,
        "gate.num_steps": 100,
        "gate.batch_size": 16,
        "gate.sides": ("query",),
        "gate.num_generations": 8,
        "gate.temperature": 0.3,
        "gate.learning_rate": 5e-5,
        "gate.rewards.token_cost": 0.3,
    },
)

UNIFIED = Recipe(
    "nano-base on riddles, where `reasoning` was better: docs/reasoning.md. The same losses and "
    "steps, half for a reasoner, half for a head over it; the default of bases with such a head",
    {
        **REASONING.values,
        "behaviour.learns": False,
        "embedding_head.kind": "layers",
        "embedding_head.num_layers": 2,
        "embedding_head.step_share": 0.5,
        "embedding_head.learning_rate": 1e-3,
        "gate": None,
    },
)

GENTLE = Recipe(
    "nothing larger than nano, on a small bazaar: docs/finetuning.md. Rates for models that know "
    "much already; the default of every base that is wider than `reasoning` was tried on",
    {
        "keep_image_features": False,
        "negatives.num_mined": 2,
        "negatives.trains": True,
        "rationales.sides": ("query", "item"),
        "judging.num_others": 64,
        "behaviour.objective.batch_size": 8,
        "joint.num_steps": 1_000,
        "joint.batch_size": 32,
        "joint.learning_rate": 1e-4,
        "joint.warmup_steps": 100,
        "joint.average_decay": 0.99,
        "joint.train_vision_encoder": False,
        "joint.loss.gate": 0.1,
        "joint.loss.false_negative_margin": None,
        "gate.num_steps": 100,
        "gate.batch_size": 16,
    },
)

SCHOOL = Recipe(
    "nano, taught the words and facts of riddles before they are asked: embedder/nano/README.md",
    {
        "half_precision": True,
        "vocabulary.num_tokens": 4_096,
        "vocabulary.min_count": 1,
        "negatives.num_mined": 0,
        "behaviour.learns": False,
        "rationales.num_drawn": 0,
        "rationales.sides": ("query",),
        "selection.keeps": "all",
        "joint.num_steps": 1_000,
        "joint.batch_size": 64,
        "joint.learning_rate": 2e-3,
        "joint.warmup_steps": 100,
        "joint.average_decay": 0.98,
        "joint.train_vision_encoder": False,
        "joint.loss.false_negative_margin": None,
        "joint.source_weights": {"facts": 4.0, "shop": 1.0},
        "gate": None,
    },
)

DIRECT: Mapping[str, object] = {
    "negatives.num_mined": 0,
    "rationales.num_drawn": 0,
    "rationales.sides": (),
    "selection.keeps": "all",
    "joint.loss.gate": 0.1,
    "joint.loss.gate_confidence": 1.0,
    "joint.loss.false_negative_margin": None,
    "joint.swap_roles": True,
    "gate": None,
}
"""Contrast of direct embeddings alone, both ways; the gate is taught to answer directly."""

FILMS = Recipe(
    "nano on MovieLens with posters: docs/films.md. Content and a behaviour space that knows how "
    "popular a film is",
    {
        **DIRECT,
        "pairs.sources": ("title_image", "consecutive", "co_consumption"),
        "pairs.max_pairs": 1_000_000,
        "vocabulary.num_tokens": 2_000,
        "vocabulary.max_text_tokens": 40,
        "behaviour.instructions": ("what next", "who likes it"),
        "behaviour.max_dim": 127,
        "behaviour.popularity_share": 0.75,
        "behaviour.places.batch_size": 128,
        "joint.num_steps": 300,
        "joint.batch_size": 16,
        "joint.learning_rate": 2e-3,
        "joint.warmup_steps": 50,
        "joint.train_vision_encoder": False,
        "joint.source_weights": {"co_consumption": 2.0, "consecutive": 2.0, "title_image": 1.0},
    },
)

FASHION = Recipe(
    "nano on product photos and their titles: docs/fashion.md. Everything is trained, the vision "
    "encoder too, on contents that are varied",
    {
        **DIRECT,
        "half_precision": True,
        "behaviour.learns": False,
        "joint.num_steps": 2_160,
        "joint.batch_size": 64,
        "joint.learning_rate": 1e-3,
        "joint.warmup_steps": 100,
        "augmentation.flip_probability": 0.5,
        "augmentation.max_shift": 0.08,
        "augmentation.max_zoom": 0.15,
        "augmentation.word_dropout": 0.1,
    },
)

CLIPS = Recipe(
    "nano on the bazaar's clips that move: docs/results.md. Names and clips, with what moves "
    "otherwise as hard negatives; nothing is varied, for mirrored it would move another way",
    {
        **DIRECT,
        "half_precision": True,
        "behaviour.learns": False,
        "negatives.trains": True,
        "joint.swap_roles": False,  # a step that swaps them passes over hard negatives
        "joint.num_steps": 2_000,
        "joint.batch_size": 64,
        "joint.learning_rate": 2e-3,
        "joint.warmup_steps": 100,
        "joint.train_vision_encoder": False,
    },
)

JINGLES = Recipe(
    "nano on the bazaar's jingles: docs/results.md. It is given an audio encoder, and learns "
    "sounds with texts and images, of which some are left out at random",
    {
        **DIRECT,
        "half_precision": True,
        "behaviour.learns": False,
        "negatives.trains": True,
        "audio.num_layers": 2,
        "joint.num_steps": 2_000,
        "joint.batch_size": 32,
        "joint.learning_rate": 2e-3,
        "joint.warmup_steps": 100,
        "joint.train_vision_encoder": False,
        "joint.modality_dropout": 0.2,
    },
)

PAIR = Recipe(
    "MiniLM and EfficientNet-Lite0 on product photos and their titles: docs/real_content.md. Both "
    "stay as they are, and two heads over their features are trained; the default of every `pair:`",
    {
        **DIRECT,
        "pairs.sources": ("title_image", "search", "attributes"),
        "pairs.max_pairs": 1_000_000,
        "behaviour.learns": False,
        "heads.hidden_size": 512,
        "heads.dim": 256,
        "heads.prefixes": (64, 128),
        "heads.dropout": 0.1,
        "heads.num_epochs": 12,
        "joint.num_steps": 20_000,
        "joint.batch_size": 256,
        "joint.learning_rate": 1e-3,
        "joint.warmup_steps": 50,
        "joint.weight_decay": 0.05,
        "joint.average_decay": 0.99,
        "joint.loss.contrastive_temperature": 0.05,
    },
)

RECIPES: Mapping[str, Recipe] = {
    "reasoning": REASONING,
    "unified": UNIFIED,
    "gentle": GENTLE,
    "school": SCHOOL,
    "films": FILMS,
    "fashion": FASHION,
    "clips": CLIPS,
    "jingles": JINGLES,
    "pair": PAIR,
}

DEFAULT = "reasoning"

MAX_MEASURED_WIDTH = 512
"""Hidden size up to which a base gets the default recipe; nano's is 128, Qwen3-VL-2B's 2,048."""


def configured(
    changes: Mapping[str, object] | None = None, *, recipe: str = DEFAULT
) -> FinetuneConfig:
    """Return the configuration of a recipe with some values changed.

    Args:
        changes: values by option, as text or in their type.
        recipe: a name of `RECIPES`, or a TOML file (`read_recipe`).

    Raises:
        ValueError: there is no such recipe, an option is unknown, or a value is of another type or
            out of range.
    """
    return built(merged(recipe_values(recipe), changes or {}), recipe=recipe)


def recipe_values(recipe: str) -> dict[str, object]:
    """Return the values of a named recipe or of a file.

    Raises:
        ValueError: there is neither.
    """
    if recipe in RECIPES:
        return merged({}, RECIPES[recipe].values)
    if recipe.endswith(".toml"):
        return read_recipe(Path(recipe))
    nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ValueError(
        f"recipe must be {', '.join(RECIPES)} or a file that ends in .toml, got {recipe!r}{hint}"
    )


def read_recipe(path: Path) -> dict[str, object]:
    """Read the values of a TOML file; tables are sections, `recipe` names what it changes.

    Raises:
        ValueError: it is no TOML, names an unknown option, or has a value of another type.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"recipe {str(path)!r} cannot be read: {error}") from error
    start = tables.pop("recipe", DEFAULT)
    if start not in RECIPES:
        raise ValueError(f"recipe in {path} must be {', '.join(RECIPES)}, got {start!r}")
    return merged(recipe_values(start), by_option(tables))


def by_option(tables: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return values by option from nested tables."""
    found: dict[str, object] = {}
    for key, value in tables.items():
        name = f"{prefix}{key}"
        is_table = isinstance(value, Mapping)
        if is_table and any(option.startswith(f"{name}.") for option in options()):
            found |= by_option(value, f"{name}.")
        else:
            found[name] = value
    return found


def recipe_of(base: str) -> str:
    """Choose the recipe of a base for which none was named: by its kind and measured size.

    Args:
        base: as `embedder` calls it, a hub id among others.
    """
    if base.startswith(PAIR_BASE) or is_pair(base):
        return "pair"
    folder = resolve(base)
    if has_embedding_head(folder):
        return "unified"
    described = json.loads((folder / "config.json").read_text())
    width: int = described.get("text_config", described)["hidden_size"]
    return DEFAULT if width <= MAX_MEASURED_WIDTH else "gentle"
