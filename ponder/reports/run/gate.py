"""What the gate decided: its probabilities by kind of input, and the items it reasoned about."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ponder.reports.run.examples import Example


def probabilities(
    embeddings: pl.DataFrame, examples: Sequence[Example], *, items: str = "items"
) -> dict[str, np.ndarray]:
    """Return the gate's probabilities of `reason`: by tier for queries, then those of the items.

    Args:
        embeddings: rows of `embeddings` of one version.
        examples: evaluated queries.
        items: what to call the items.
    """
    tiers = list(dict.fromkeys(example["tier"] for example in examples))
    by_tier = {
        tier: np.array([e["gate_probability"] for e in examples if e["tier"] == tier])
        for tier in tiers
    }
    if embeddings.is_empty():
        return by_tier
    return {**by_tier, items: embeddings["gate_probability"].to_numpy()}


def reasoned_items(
    embeddings: pl.DataFrame, rationales: pl.DataFrame, *, limit: int = 8
) -> pl.DataFrame:
    """Return the items with the highest probability among those that were reasoned about.

    Args:
        embeddings: rows of `embeddings` of one version.
        rationales: rows of `rationales` of its reasoner and prompt.
        limit: how many.

    Returns:
        item_id, gate_probability, rationale, summary; the texts are null where none was kept.
    """
    texts = rationales.select("item_id", "content_hash", "rationale", "summary")
    return (
        embeddings.filter(pl.col("action") == "reason")
        .sort(["gate_probability", "item_id"], descending=[True, False])
        .head(limit)
        .join(texts, on=["item_id", "content_hash"], how="left", maintain_order="left")
        .select("item_id", "gate_probability", "rationale", "summary")
    )
