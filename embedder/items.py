"""Rows of the `items` table to rows of `embeddings` and `rationales`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from catalog.lake.tables import EMBEDDINGS, RATIONALES
from embedder.content import CatalogueEncoder, Content, Encoding, Failure
from embedder.prompting.template import item_text


@dataclass(frozen=True, slots=True)
class EmbeddedItems:
    """What came of items."""

    embeddings: pl.DataFrame
    """Rows of the `embeddings` table."""

    rationales: pl.DataFrame
    """Rows of the `rationales` table, for the items that were reasoned about."""

    failures: dict[str, str]
    """Why an item has no embedding, by item_id."""

    fallbacks: dict[str, str]
    """Why an item was embedded directly although it was to be reasoned about, by item_id."""


def item_content(row: Mapping[str, Any], media: Mapping[str, bytes]) -> Content:
    """Return what the embedder sees of a row of `items`.

    Args:
        row: of `items`.
        media: what items show by its hash; what is missing is left out.
    """
    text = item_text(row["title"], row["text"], row["category"], row["tags"] or ())
    return Content(
        text,
        media.get(row["image_hash"]),
        row["content_hash"],
        gallery=tuple(media[key] for key in row["gallery_hashes"] or () if key in media),
        clip=media.get(row["video_hash"]),
        audio=media.get(row["audio_hash"]),
    )


def _lost_media(row: Mapping[str, Any], media: Mapping[str, bytes]) -> str | None:
    """Return the hash of something a row shows that is not there; None when all is."""
    single = (row["image_hash"], row["video_hash"], row["audio_hash"])
    shown = (*single, *(row["gallery_hashes"] or ()))
    return next((key for key in shown if key is not None and key not in media), None)


def embed_items(
    items: pl.DataFrame,
    media: Mapping[str, bytes],
    encoder: CatalogueEncoder,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> EmbeddedItems:
    """Embed items; one that cannot be embedded does not stop the others.

    Args:
        items: rows of the `items` table.
        media: what they show by its hash.
        encoder: the model version.
        progress: told how many more items are finished, failed ones included.
    """
    (whole,) = stream_embedded(items, media, encoder, every_s=float("inf"), progress=progress)
    return whole


def stream_embedded(
    items: pl.DataFrame,
    media: Mapping[str, bytes],
    encoder: CatalogueEncoder,
    *,
    every_s: float,
    progress: Callable[[int], None] = lambda done: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[EmbeddedItems]:
    """Yield what has come of the items whenever so many seconds have passed, and the rest last.

    A part is what was finished since the part before, in the order of the items; the last one comes
    even when it is empty.

    Args:
        items: rows of the `items` table.
        media: what they show by its hash.
        encoder: the model version.
        every_s: seconds of embedding between two parts.
        progress: told how many more items are finished, failed ones included.
        clock: seconds that only grow.
    """
    good: list[Mapping[str, Any]] = []
    contents: list[Content] = []
    failures: dict[str, str] = {}
    for row in items.iter_rows(named=True):
        if (lost := _lost_media(row, media)) is not None:
            failures[row["item_id"]] = f"the lake has no media {lost}; land the item again"
            continue
        good.append(row)
        contents.append(item_content(row, media))
    progress(len(failures))
    encoded: dict[int, Encoding] = {}
    began = clock()
    for number, answer in encoder.stream_items(contents):
        if isinstance(answer, Failure):
            failures[good[number]["item_id"]] = answer.reason
        else:
            encoded[number] = answer
        progress(1)
        if clock() - began >= every_s:
            yield _embedded([(good[n], encoded[n]) for n in sorted(encoded)], failures, encoder)
            encoded, failures, began = {}, {}, clock()
    yield _embedded([(good[n], encoded[n]) for n in sorted(encoded)], failures, encoder)


Encoded = Sequence[tuple[Mapping[str, Any], Encoding]]


def _embedded(rows: Encoded, failures: dict[str, str], encoder: CatalogueEncoder) -> EmbeddedItems:
    return EmbeddedItems(
        _embedding_rows(rows, encoder.version),
        _rationale_rows(rows, encoder),
        failures,
        {item["item_id"]: encoding.fallback for item, encoding in rows if encoding.fallback},
    )


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
