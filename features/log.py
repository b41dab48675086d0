"""What features are made from: the events, the items and their vectors."""

from dataclasses import dataclass

import polars as pl

from features.cooccurrence import Cooccurrence


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """What a ranker may learn from and be asked about."""

    events: pl.DataFrame
    """Rows of the `events` table."""

    items: pl.DataFrame
    """Rows of the `items` table."""

    vectors: pl.DataFrame
    """item_id, vector, model_version of one version."""

    counts: Cooccurrence | None = None
    """Of everybody's likes; None where `events` hold everybody's, for then they can be counted."""

    @property
    def candidates(self) -> pl.Series:
        """Ids that may be recommended: living items that have a vector, with or without image."""
        living = self.items.filter(~pl.col("deleted"))
        return living.join(self.vectors, on="item_id", how="semi")["item_id"]
