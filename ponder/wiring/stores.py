"""Open where a deployment's data lies: lake, index, topics, and where images may come from."""

import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from pydantic import Secret

from catalog.audio.limits import AudioLimits
from catalog.clips.limits import ClipLimits
from catalog.images.image import ImageConfig
from catalog.lake.index_versions import IndexVersions
from catalog.lake.lake import Lake
from ponder.settings import Settings

if TYPE_CHECKING:
    from catalog.ingest.message_parsing import Decoder, Decoders
    from catalog.kafka.config import KafkaConfig
    from recall.index import ItemIndex
    from recall.vector_search import VectorSearch

T = TypeVar("T")


def revealed(secrets: Mapping[str, Secret[T]]) -> dict[str, T]:
    """Return what a mapping of secrets hides; for the client that needs it, and for nobody else."""
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


def open_lake(settings: Settings) -> Lake:
    """Open the deployment's lake; it comes into being with its first table."""
    return Lake(settings.lake_uri, storage_options=revealed(settings.lake_options))


def open_index(settings: Settings) -> "ItemIndex":
    """Open the deployment's index; close it, for a Milvus Lite folder has one holder at a time."""
    from recall.collection import IndexConfig
    from recall.index import ItemIndex
    from recall.index_kinds import IndexParameters

    if not settings.milvus:
        settings.home.mkdir(parents=True, exist_ok=True)
    config = IndexConfig(
        uri=settings.milvus_uri,
        token=settings.milvus_token.get_secret_value(),
        index_type=settings.index_type,
        parameters=IndexParameters(
            m=settings.index_m,
            ef_construction=settings.index_ef_construction,
            ef=settings.index_ef,
            nprobe=settings.index_nprobe,
        ),
        memory_bytes=int(settings.index_memory_gib * 2**30) or None,
        search_timeout_s=settings.search_timeout_s,
        call_timeout_s=settings.index_timeout_s,
    )
    return ItemIndex.open(config)


@contextmanager
def open_search(settings: Settings) -> "Iterator[VectorSearch]":
    """Open what answers queries: the Milvus server, or exact search where there is none.

    Exact search leaves the Milvus Lite folder alone, so that queries are answered while another
    process fills it.
    """
    if not settings.is_embedded:
        with open_index(settings) as index:
            yield index
        return
    from recall.exact import ExactIndex

    lake = open_lake(settings)
    yield ExactIndex(lake, settings.vectors_folder, IndexVersions(lake).live)


@contextmanager
def open_living_search(settings: Settings) -> "Iterator[VectorSearch]":
    """Open what answers queries, and leave out of a server's answers what the lake has deleted."""
    from recall.deletions import WithoutDeleted

    with open_search(settings) as index:
        if settings.is_embedded:  # exact search reads the lake itself
            yield index
            return
        living = WithoutDeleted(index, open_lake(settings))
        living.refresh()
        yield living


def image_config(settings: Settings) -> ImageConfig:
    """Return where images, clips and sounds may be fetched from, and what they may cost."""
    return ImageConfig(
        allow=settings.media_allow,
        buckets=settings.media_buckets,
        store_options=revealed(settings.lake_options),
        clips=ClipLimits(
            max_bytes=settings.max_clip_bytes,
            max_duration_s=settings.max_clip_s,
            max_pixels=settings.max_clip_pixels,
            decoding_s=settings.clip_decoding_s,
        ),
        audio=AudioLimits(
            max_bytes=settings.max_audio_bytes,
            max_duration_s=settings.max_audio_s,
            max_channels=settings.max_audio_channels,
            max_sample_rate_hz=settings.max_audio_hz,
            decoding_s=settings.audio_decoding_s,
        ),
    )


def kafka_config(settings: Settings) -> "KafkaConfig":
    """Return the deployment's brokers and topics.

    Raises:
        ValueError: no brokers are set, or both topics are one.
    """
    from catalog.kafka.config import KafkaConfig

    if not settings.kafka:
        raise ValueError("no Kafka brokers are set; set PONDER_KAFKA, e.g. to kafka:9092")
    security = revealed(settings.kafka_security)
    return KafkaConfig(
        bootstrap_servers=settings.kafka,
        group_id=settings.kafka_group,
        item_topic=settings.kafka_item_topic,
        event_topic=settings.kafka_event_topic,
        security=security,
    )


def message_decoders(settings: Settings) -> "Decoders":
    """Import the functions that decode the topics' messages.

    Raises:
        ValueError: a setting names nothing that can be imported and called.
    """
    from catalog.ingest.message_parsing import Decoders

    return Decoders(
        item=_imported("item_decoder", settings.item_decoder),
        event=_imported("event_decoder", settings.event_decoder),
    )


def _imported(setting: str, name: str) -> "Decoder | None":
    if not name:
        return None
    try:
        decoder = pkgutil.resolve_name(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise ValueError(
            f"{setting} must name a function as module:function, got {name!r}: {error}"
        ) from error
    if not callable(decoder):
        raise ValueError(f"{setting} must name a function, got {name!r}")
    return cast("Decoder", decoder)
