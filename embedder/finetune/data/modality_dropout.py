"""Drop-out of modalities: contents that lack one now and then, as catalogues do.

SAIL-Embedding drops fields of an item at random in training, so that one that is missing online
does not hurt. Here each of the four modalities is dropped for itself.
"""

import random
from dataclasses import replace
from typing import Any

from embedder.content import Content


def with_dropout(content: Content, probability: float, rng: random.Random) -> Content:
    """Return a content without some of its modalities; one that it has always stays.

    Modalities are its text, its images together, its clip and its sound.

    Args:
        content: a query or an item.
        probability: of each modality to be dropped, in [0, 1]. Where all would go, one is drawn
            that stays.
        rng: decides.
    """
    bare: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "images": {"image": None, "gallery": ()},
        "clip": {"clip": None},
        "audio": {"audio": None},
    }
    empty = Content()
    there = [
        name
        for name, fields in bare.items()
        if any(getattr(content, field) != getattr(empty, field) for field in fields)
    ]
    dropped = [name for name in there if rng.random() < probability]
    if len(dropped) == len(there) and dropped:
        dropped.remove(rng.choice(dropped))
    if not dropped:
        return content
    without = {field: value for name in dropped for field, value in bare[name].items()}
    return replace(content, **without, key="")
