"""Writes the emoji of a font as a data folder: a public catalogue of real words and images.

items.parquet    item_id, title, split, image, updated_at
queries.jsonl    keywords of people's, each with the emoji that have it
"""

import hashlib
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from catalog.emoji.font import Emoji, drawn_emoji
from catalog.emoji.keywords import Keyword, keywords

LISTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def write_emoji(
    folder: Path, font: Path, words: Mapping[str, list[str]], *, num_queries: int
) -> dict[str, int]:
    """Write the files and return how many records each holds.

    The same font, keywords and Unicode version of Python give the same rows.

    Args:
        folder: where to.
        font: see `drawn_emoji`.
        words: keywords by code point, see `read_keywords`.
        num_queries: keywords that are asked, at most; drawn by their hashes, so that more of them
            hold fewer.

    Raises:
        ValueError: the font has no bitmaps in colour.
    """
    emoji = list(drawn_emoji(font))
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([_row(one) for one in emoji]).write_parquet(folder / "items.parquet")
    named = {one.code: one.name for one in emoji}
    asked = sorted(keywords(named, words), key=lambda one: _share(one.text))[:num_queries]
    lines = (json.dumps(_query(number, one)) for number, one in enumerate(asked))
    (folder / "queries.jsonl").write_text("\n".join([*lines, ""]))
    return {"items": len(emoji), "queries": len(asked)}


def split_of(code: str) -> str:
    """Return the split of an emoji: 8 in 10 train, 1 valid, 1 test, by the hash of its code point.

    The shipped `small` learnt from images of the split `train` alone.

    Example:
        >>> split_of("1f600")
        'train'
    """
    return {8: "valid", 9: "test"}.get(_share(code) % 10, "train")


def _share(text: str) -> int:
    """Return the first 32 bits of a text's SHA-1, by which it is drawn."""
    return int(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8], 16)


def _row(emoji: Emoji) -> dict[str, object]:
    encoded = io.BytesIO()
    emoji.image.save(encoded, "PNG")
    return {
        "item_id": emoji.code,
        "title": emoji.name,
        "split": split_of(emoji.code),
        "image": encoded.getvalue(),
        "updated_at": LISTED_AT,
    }


def _query(number: int, keyword: Keyword) -> dict[str, object]:
    return {
        "query_id": f"k{number:04d}",
        "text": keyword.text,
        "relevant": list(keyword.codes),
        "tier": keyword.tier,
    }
