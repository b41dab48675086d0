"""Opens what a deployment's settings name; heavy packages are imported when first needed."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from catalog.embed_letters import failed_embeddings
from catalog.lake import Lake
from catalog.media import MediaConfig
from catalog.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS
from ponder.settings import Settings

if TYPE_CHECKING:
    from catalog.brokers import KafkaConfig
    from embedder.encode import EmbedderConfig, MMEmbR1
    from recall.index import ItemIndex
    from recall.search import Recall


def open_lake(settings: Settings) -> Lake:
    """The deployment's lake; it comes into being with its first table."""
    return Lake(settings.lake_uri, storage_options=dict(settings.lake_options))


def media_config(settings: Settings) -> MediaConfig:
    """Where the deployment's pictures may be fetched from."""
    return MediaConfig(
        allow=settings.media_allow,
        buckets=settings.media_buckets,
        store_options=settings.lake_options,
    )


def kafka_config(settings: Settings) -> "KafkaConfig":
    """The deployment's brokers and topics.

    Raises:
        ValueError: no brokers are set.
    """
    from catalog.brokers import KafkaConfig

    if not settings.kafka:
        raise ValueError("no Kafka brokers are set; set PONDER_KAFKA, e.g. to kafka:9092")
    return KafkaConfig(bootstrap_servers=settings.kafka, security=settings.kafka_security)


def open_index(settings: Settings) -> "ItemIndex":
    """The deployment's index; close it, for a Milvus Lite folder has one holder at a time."""
    from recall.collection import IndexConfig
    from recall.index import ItemIndex

    if not settings.milvus:
        settings.home.mkdir(parents=True, exist_ok=True)
    return ItemIndex.open(IndexConfig(uri=settings.milvus_uri, token=settings.milvus_token))


def open_encoder(settings: Settings) -> "MMEmbR1":
    """The configured model version; loaded once in a process."""
    from embedder.encode import EmbedderConfig

    return _load_encoder(
        EmbedderConfig(model=settings.model, device=settings.device, policy=settings.policy)
    )


@functools.lru_cache(maxsize=2)
def _load_encoder(config: "EmbedderConfig") -> "MMEmbR1":
    from embedder.encode import MMEmbR1

    return MMEmbR1.open(config)


def configured_version(settings: Settings) -> str:
    """Id of the configured model version, without loading it."""
    from embedder.version import configured_version

    return configured_version(settings.model, settings.policy)


def open_recall(settings: Settings, index: "ItemIndex") -> "Recall":
    """Recall over an open index, with the configured encoder and the lake's histories."""
    from recall.search import Recall

    def encoder_of(version: str) -> "MMEmbR1":
        encoder = open_encoder(settings)
        if encoder.version != version:
            raise LookupError(
                f"the configured model {settings.model!r} is {encoder.version!r}; set PONDER_MODEL "
                "to the live one, or embed, index and promote the configured one"
            )
        return encoder

    return Recall(index, encoder_of, history_reader(open_lake(settings)))


def history_reader(lake: Lake) -> Callable[[str], list[str]]:
    """A function that gives the ids of a user's liked items, newest first."""
    from catalog.tables import EVENTS
    from features.histories import HistoryConfig, positive_events

    def history_of(user_id: str) -> list[str]:
        events = lake.scan(EVENTS).filter(pl.col("user_id") == user_id).collect()
        liked = positive_events(events, config=HistoryConfig())
        newest_first = liked.sort(["ts", "item_id"], descending=[True, False])
        return newest_first["item_id"].unique(maintain_order=True).to_list()

    return history_of


def embedded_keys(lake: Lake, version: str) -> pl.DataFrame:
    """What the version has embedded, in the key columns of `embeddings`."""
    of_version = lake.scan(EMBEDDINGS).filter(pl.col("model_version") == version)
    return of_version.select(EMBEDDINGS.key).collect()


def failed_keys(lake: Lake, version: str) -> pl.DataFrame:
    """What the version has failed to embed, in the key columns of `embeddings`."""
    return failed_embeddings(lake.scan(DEAD_LETTERS), model_version=version)


def living_vectors(lake: Lake, version: str) -> pl.DataFrame:
    """The rows of `items` that are not deleted, each with its vector of the version.

    Items whose present content the version has not embedded are left out.
    """
    vectors = (
        lake.scan(EMBEDDINGS)
        .filter(pl.col("model_version") == version)
        .select("item_id", "content_hash", "vector")
    )
    living = lake.scan(ITEMS).filter(~pl.col("deleted"))
    return living.join(vectors, on=["item_id", "content_hash"]).sort("item_id").collect()


def known_vectors(lake: Lake, version: str) -> pl.DataFrame:
    """item_id, vector and model_version of every item the version ever embedded, one row each.

    The vector of an item's present content where there is one, else that of an earlier content: a
    history may hold items that have since changed or gone.
    """
    present = lake.scan(ITEMS).select("item_id", present_hash="content_hash")
    return (
        lake.scan(EMBEDDINGS)
        .filter(pl.col("model_version") == version)
        .join(present, on="item_id", how="left")
        .with_columns(is_present=pl.col("content_hash") == pl.col("present_hash"))
        .sort(
            ["item_id", "is_present", "content_hash"],
            descending=[False, True, True],
            nulls_last=True,
        )
        .unique("item_id", keep="first", maintain_order=True)
        .select("item_id", "vector", "model_version")
        .collect()
    )
