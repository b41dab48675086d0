"""Rationales kept in the lake, under the content and not under the embedder that read them."""

from collections.abc import Mapping, Sequence

import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS, RATIONALES
from embedder.reasoners.reasoner import Rationale


class LakeRationales:
    """The table `rationales` of one reasoner and prompt; an `embedder.reasoners.cache` store.

    Keys are content hashes of items. What is kept under any other key is dropped, for the table
    holds rationales of items only.
    """

    def __init__(self, lake: Lake, *, reasoner: str, prompt_version: str) -> None:
        """Reads nothing yet.

        Args:
            lake: where the table is.
            reasoner: whose rationales.
            prompt_version: how it was asked.
        """
        self._lake = lake
        self._reasoner = reasoner
        self._prompt_version = prompt_version

    def find(self, keys: Sequence[str]) -> dict[str, Rationale]:
        """Return those that it has by key; of several items with one content, the first by id."""
        by_whom = (pl.col("reasoner") == self._reasoner) & (
            pl.col("prompt_version") == self._prompt_version
        )
        rows = (
            self._lake.scan(RATIONALES)
            .filter(by_whom & pl.col("content_hash").is_in(list(keys)))
            .sort("item_id")
            .unique("content_hash", keep="first", maintain_order=True)
            .select("content_hash", "rationale", "summary", "tokens")
            .collect()
        )
        return {key: Rationale(*written) for key, *written in rows.iter_rows()}

    def keep(self, rationales: Mapping[str, Rationale]) -> None:
        """Write a row for each item that has the content now."""
        written = pl.DataFrame(
            [
                {
                    "content_hash": key,
                    "reasoner": self._reasoner,
                    "prompt_version": self._prompt_version,
                    "rationale": rationale.text,
                    "summary": rationale.summary,
                    "tokens": rationale.num_tokens,
                }
                for key, rationale in rationales.items()
            ],
            schema={n: t for n, t in RATIONALES.columns.items() if n != "item_id"},
        )
        items = self._lake.scan(ITEMS).select("item_id", "content_hash")
        rows = items.join(written.lazy(), on="content_hash").select(*RATIONALES.columns).collect()
        self._lake.insert_new(RATIONALES, rows.sort("item_id"))
