"""Writes pairs as a data folder that `ponder finetune` takes: what `given` reads."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from catalog.atomic_file import write_atomically
from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.reasoners.reasoner import Rationale

_MEDIA: dict[str, Any] = {
    **{"image": pl.Binary, "images": pl.List(pl.Binary)},
    **{"video": pl.Binary, "audio": pl.Binary},
}

UPDATED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Example:
    """A pair, and what was written about its sides."""

    pair: Pair
    """Its hard negatives are for the judge; its answers are all there are."""

    rationales: Mapping[str, Rationale] = field(default_factory=dict)
    """About the query, by worker."""

    item_rationales: Mapping[str, Rationale] = field(default_factory=dict)
    """About the target, by worker."""

    brand: str = ""
    """Of the target; a rationale that tells it is a leak."""


def write_data(folder: Path, examples: Sequence[Example]) -> None:
    """Write items, pairs, hard negatives and rationales; items are there when all is.

    Contents become items, named after their pair: its target, `-q` a query that is no text
    alone, and `-1`, `-2`... its hard negatives.
    """
    items = list(_items(examples))
    _write_jsonl(folder / "pairs.jsonl", map(_pair_row, examples))
    _write_jsonl(
        folder / "hard_negatives.jsonl",
        (
            {"pair_id": one.pair.pair_id, "item_id": item_id, "key": negative.key}
            for one in examples
            for item_id, negative in _negative_ids(one.pair)
        ),
    )
    _write_jsonl(folder / "rationales.jsonl", _rationale_rows(examples))
    frame = pl.DataFrame(items, schema_overrides=_MEDIA)
    write_atomically(folder / "items.parquet", frame.write_parquet)


def _items(examples: Iterable[Example]) -> Iterator[dict[str, Any]]:
    for one in examples:
        pair = one.pair
        yield _item(pair.pair_id, pair.target, one.brand)
        if not _is_text(pair.query):
            yield _item(f"{pair.pair_id}-q", pair.query, "")
        for item_id, negative in _negative_ids(pair):
            yield _item(item_id, negative.content, "")


def _item(item_id: str, content: Content, brand: str) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "title": content.text or None,
        "image": content.image,
        "images": list(content.gallery),
        "video": content.clip,
        "audio": content.audio,
        "attributes": {"brand": brand or None},
        "updated_at": UPDATED_AT,
    }


def _negative_ids(pair: Pair) -> Iterator[tuple[str, Any]]:
    for number, negative in enumerate(pair.negatives, start=1):
        yield f"{pair.pair_id}-{number}", negative


def _is_text(content: Content) -> bool:
    return content.image is None and content.clip is None and content.audio is None


def _asks_by(pair: Pair) -> dict[str, str]:
    """Return the query as a row names it."""
    if _is_text(pair.query):
        return {"query_text": pair.query.text}
    return {"query_item": f"{pair.pair_id}-q"}


def _pair_row(one: Example) -> dict[str, Any]:
    pair = one.pair
    return {
        "pair_id": pair.pair_id,
        "source": pair.source,
        "query_key": pair.query_key,
        "target_key": pair.target_key,
        "target_item": pair.pair_id,
        "answers": sorted(pair.answers),
        **_asks_by(pair),
    }


def _rationale_rows(examples: Sequence[Example]) -> Iterator[dict[str, str]]:
    for one in examples:
        asks = _asks_by(one.pair)
        about = {"item_id": asks["query_item"]} if "query_item" in asks else asks
        yield from _said("query", about, one.rationales)
        yield from _said("item", {"item_id": one.pair.pair_id}, one.item_rationales)


def _said(
    side: str, about: Mapping[str, str], rationales: Mapping[str, Rationale]
) -> Iterator[dict[str, str]]:
    for worker, said in rationales.items():
        yield {"worker": worker, "side": side, **about, "text": said.text, "summary": said.summary}


def _write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    if lines:
        write_atomically(path, "".join(lines))
