"""Make `small` again: texts of WordNet, scenes of emoji, two teachers, two trainings.

The folder that is made has the texts (`texts.jsonl`) and what `embedder.small.recipe` writes. A
killed making goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.atomic_file import write_atomically
from ponder.small.scenes import read_emoji, scenes
from ponder.small.texts import BLOCK, TextSource, text_pairs
from ponder.small.wordnet import read_wordnet

if TYPE_CHECKING:
    from embedder.small.recipe import SmallConfig

SCENE_BLOCK = 2
"""Scenes that stand side by side and resemble each other."""

SOURCES = {
    "texts": "WordNet 3.0 (its own licence), and sentences of Ponder's own",
    "images": "Noto Emoji (Apache-2.0), and drawings of Ponder's own",
    "text_teacher": "all-MiniLM-L6-v2 (Apache-2.0)",
    "image_teacher": "EfficientNet-Lite0 (Apache-2.0)",
}


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of what `small` is made from."""

    wordnet: Path
    """`data.noun` and the other files of WordNet 3.0."""

    emoji: Path
    """Images and names of Noto Emoji."""

    text_teacher: Path
    """MiniLM, as `ponder embedder unpack minilm` leaves it."""

    image_teacher: Path
    """EfficientNet-Lite0, as `ponder embedder unpack lite0` leaves it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """How much there is to learn from."""

    num_pairs: int = 28_000
    """Of texts; a multiple of 2."""

    num_scenes: int = 8_000
    """Beside the emoji themselves; a multiple of 2."""

    seed: int = 1
    """Of texts and scenes."""


def make_small(
    places: Places,
    folder: Path,
    amounts: Amounts,
    *,
    config: "SmallConfig | None" = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Make what is missing in a folder, and return that of the version.

    Args:
        places: what it is made from.
        folder: of everything that is made.
        amounts: how much of everything there is.
        config: how it is trained; None: as the version that ships.
        progress: told how many more texts, images and steps are done.

    Raises:
        FileNotFoundError: a folder lacks what must be there.
    """
    from embedder.small.architecture import word_pieces
    from embedder.small.recipe import Material, SmallConfig, Teachers, train_small

    config = config or SmallConfig()
    wordnet, emoji = read_wordnet(places.wordnet), read_emoji(places.emoji)
    source = TextSource(wordnet, word_pieces(places.text_teacher))
    texts = _texts(source, folder / "texts.jsonl", amounts)
    shown = list(scenes(emoji.emoji, amounts.num_scenes, seed=amounts.seed))
    lineage = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_by": "ponder small",
        "sources": SOURCES,
        "sha256": {"wordnet": wordnet.digest, "emoji": emoji.digest, "texts": _digest(texts)},
        "amounts": asdict(amounts),
        "config": asdict(config),
    }
    return train_small(
        Material(
            texts,
            [one.image for one in shown],
            [one.caption for one in shown],
            text_block=2 * BLOCK,
            image_block=SCENE_BLOCK,
        ),
        Teachers(places.text_teacher, places.image_teacher),
        folder,
        config,
        lineage=lineage,
        progress=progress,
    )


def _texts(source: TextSource, path: Path, amounts: Amounts) -> list[str]:
    """Return all texts, a pair's side by side, and keep them to be looked at."""
    pairs = list(text_pairs(source, amounts.num_pairs, seed=amounts.seed))
    write_atomically(path, "".join(json.dumps(asdict(pair)) + "\n" for pair in pairs))
    return [text for pair in pairs for text in (pair.first, pair.second)]


def _digest(texts: list[str]) -> str:
    """Return the SHA-256 of texts, one a line."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
