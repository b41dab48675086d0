"""What a deployment holds of the configured model version."""

from dataclasses import dataclass

import polars as pl

from catalog.lake.index_versions import IndexVersions
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, EVENTS, ITEMS, RATIONALES
from ponder.settings import Settings
from ponder.wiring.encoder import configured_manifest, configured_reasoner, configured_version
from ponder.wiring.stores import open_lake
from ponder.wiring.vectors import living_vectors


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentSnapshot:
    """The lake as one model version sees it, and what is served."""

    lake: Lake

    model_version: str

    theta: float
    """Probability from which on the version's gate reasons."""

    policy: str
    """The deployment's: auto, always or never."""

    live: str
    """The version that is served, or a sentence that says why none is named."""

    num_items: int
    """Not counting the deleted."""

    num_deleted: int
    num_events: int

    living: pl.DataFrame
    """Rows of `items` that are not deleted, with their vectors and `num_events`."""

    embeddings: pl.DataFrame
    """Rows of `embeddings`, without vectors, of the contents that `living` has vectors of."""

    rationales: pl.DataFrame
    """Rows of `rationales` by the version's reasoner and prompt."""

    letters: pl.DataFrame
    """Dead letters without their payloads, newest first."""

    @property
    def reasoned_share(self) -> float | None:
        """Share of the embeddings that were reasoned about; None when there are none."""
        reasoned = (self.embeddings["action"] == "reason").mean()
        return reasoned if isinstance(reasoned, float) else None


def deployment_snapshot(settings: Settings) -> DeploymentSnapshot:
    """Read what the deployment holds now. The model is not loaded."""
    lake, version = open_lake(settings), configured_version(settings)
    deleted = lake.read(ITEMS, ["deleted"])["deleted"].to_list()
    living, happened = living_vectors(lake, version), _events_by_item(lake)
    return DeploymentSnapshot(
        lake=lake,
        model_version=version,
        theta=configured_manifest(settings).theta,
        policy=settings.policy,
        live=IndexVersions(lake).live() or "none yet",
        num_items=deleted.count(False),
        num_deleted=deleted.count(True),
        num_events=int(happened["num_events"].sum()),
        living=living.join(happened, on="item_id", how="left").with_columns(
            pl.col("num_events").fill_null(0)
        ),
        embeddings=_embeddings(lake, version, living),
        rationales=_rationales(lake, *configured_reasoner(settings)),
        letters=_letters(lake),
    )


def _events_by_item(lake: Lake) -> pl.DataFrame:
    return lake.scan(EVENTS).group_by("item_id").agg(num_events=pl.len().cast(pl.Int64)).collect()


def _embeddings(lake: Lake, version: str, living: pl.DataFrame) -> pl.DataFrame:
    present = living.lazy().select("item_id", "content_hash")
    of_version = lake.scan(EMBEDDINGS).filter(pl.col("model_version") == version).drop("vector")
    return of_version.join(present, on=["item_id", "content_hash"], how="semi").collect()


def _rationales(lake: Lake, reasoner: str, prompt_version: str) -> pl.DataFrame:
    by_reasoner = pl.col("reasoner") == reasoner
    by_prompt = pl.col("prompt_version") == prompt_version
    return lake.scan(RATIONALES).filter(by_reasoner & by_prompt).collect()


def _letters(lake: Lake) -> pl.DataFrame:
    letters = lake.scan(DEAD_LETTERS).drop("key", "value").collect()
    return letters.sort(
        ["failed_at", "topic", "partition", "offset"], descending=[True, False, False, False]
    )
