"""Rows of the `items` table to rows of `embeddings` and `rationales`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from catalog.tables import EMBEDDINGS, RATIONALES
from embedder.content import CatalogueEncoder, Content, Encoding
from embedder.template import item_text


@dataclass(frozen=True, slots=True)
class EmbeddedItems:
    """What came of a shard."""

    embeddings: pl.DataFrame
    """Rows of the `embeddings` table."""

    rationales: pl.DataFrame
    """Rows of the `rationales` table, for the items that were reasoned about."""

    failures: dict[str, str]
    """Why an item has no embedding, by item_id."""

    fallbacks: dict[str, str]
    """Why an item was embedded directly although it was to be reasoned about, by item_id."""


def item_content(row: Mapping[str, Any], image: bytes | None) -> Content:
    """What the embedder sees of a row of `items`; `image` holds the bytes of its picture."""
    text = item_text(row["title"], row["text"], row["category"], row["tags"] or ())
    return Content(text, image, row["content_hash"])


def embed_items(
    items: pl.DataFrame,
    images: Mapping[str, bytes],
    encoder: CatalogueEncoder,
    *,
    progress: Callable[[int], None] | None = None,
) -> EmbeddedItems:
    """Embeds a shard of items; one that cannot be embedded does not stop the others.

    Args:
        items: rows of the `items` table.
        images: picture bytes by `image_hash`.
        encoder: the model version.
        progress: told how many more items are finished.
    """
    good: list[dict[str, Any]] = []
    contents: list[Content] = []
    failures: dict[str, str] = {}
    for row in items.iter_rows(named=True):
        content = item_content(row, images.get(row["image_hash"]))
        if (reason := _missing_media(row, images) or encoder.refusal(content)) is not None:
            failures[row["item_id"]] = reason
            continue
        contents.append(content)
        good.append(row)
    encodings = encoder.encode_items(contents, progress=progress)
    rows = list(zip(good, encodings, strict=True))
    return EmbeddedItems(
        _embedding_rows(rows, encoder.version),
        _rationale_rows(rows, encoder),
        failures,
        {item["item_id"]: encoding.fallback for item, encoding in rows if encoding.fallback},
    )


def _missing_media(row: Mapping[str, Any], images: Mapping[str, bytes]) -> str | None:
    if row["image_hash"] is None or row["image_hash"] in images:
        return None
    return f"the lake has no media {row['image_hash']}; land the item again"


Encoded = Iterable[tuple[Mapping[str, Any], Encoding]]


def _embedding_rows(rows: Encoded, version: str) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "item_id": item["item_id"],
                "content_hash": item["content_hash"],
                "model_version": version,
                "vector": np.asarray(encoding.vector, dtype=np.float32).tolist(),
                "action": encoding.action,
                "gate_probability": encoding.gate_probability,
                "rationale_tokens": encoding.rationale_tokens,
            }
            for item, encoding in rows
        ],
        schema=EMBEDDINGS.schema,
    )


def _rationale_rows(rows: Encoded, encoder: CatalogueEncoder) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "item_id": item["item_id"],
                "content_hash": item["content_hash"],
                "reasoner": encoder.reasoner,
                "prompt_version": encoder.prompt_version,
                "rationale": encoding.rationale,
                "summary": encoding.summary,
                "tokens": encoding.rationale_tokens,
            }
            for item, encoding in rows
            if encoding.action == "reason"
        ],
        schema=RATIONALES.schema,
    )
