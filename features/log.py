"""What features are made from: the events, the items and their vectors."""

from dataclasses import dataclass

import polars as pl

from features.cooccurrence import Cooccurrence


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """What a ranker may learn from and be asked about."""

    events: pl.DataFrame
    """Rows of the `events` table; with `landed_at` where pages are to be made of them."""

    items: pl.DataFrame
    """item_id, category, price, created_at, deleted: one row per item, or one for each state of it,
    as `features.landings.item_histories` gives them."""

    vectors: pl.DataFrame
    """item_id, vector, model_version of one version: one row per item, or several that differ in
    `since`; see `features.centred_embeddings.CentredEmbeddings`."""

    counts: Cooccurrence | None = None
    """Of everybody's likes; None where `events` hold everybody's, for then they can be counted."""

    version: str | None = None
    """Model version of the vectors, or of what would embed the items; None: the vectors tell."""

    @property
    def model_version(self) -> str:
        """Model version of the vectors."""
        return str(self.vectors["model_version"][0]) if self.version is None else self.version

    @property
    def candidates(self) -> pl.Series:
        """Ids that may be recommended: living items, with or without vector and image."""
        living = self.items.filter(~pl.col("deleted"))
        return living["item_id"].unique(maintain_order=True)
