"""What features are made from: the events, the items and their vectors."""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """What a ranker may learn from and be asked about."""

    events: pl.DataFrame
    """Rows of the `events` table."""

    items: pl.DataFrame
    """Rows of the `items` table."""

    vectors: pl.DataFrame
    """item_id, vector, model_version of one version."""

    @property
    def has_impressions(self) -> bool:
        """Whether the log shows what was on each page, and not only what was chosen."""
        return bool((self.events["action"] == "impression").any())

    @property
    def candidates(self) -> pl.Series:
        """Ids that may be recommended: living items that have an image and a vector."""
        living = self.items.filter(~pl.col("deleted") & pl.col("image_hash").is_not_null())
        return living.join(self.vectors, on="item_id", how="semi")["item_id"]
