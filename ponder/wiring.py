"""Opens what a deployment's settings name; heavy packages are imported when first needed."""

import functools
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

import polars as pl
from pydantic import Secret

from catalog.images.image import ImageConfig
from catalog.lake.embedding_failures import failed_embeddings
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS
from ponder.rationales import LakeRationales
from ponder.registry import REGISTRY
from ponder.settings import Settings

T = TypeVar("T")

SENTENCE = "st:"
"""Before the name of a sentence-transformers model."""

if TYPE_CHECKING:
    from catalog.ingest.message_parsing import Decoder, Decoders
    from catalog.kafka.config import KafkaConfig
    from embedder.content import CatalogueEncoder, Policy
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
    from embedder.reasoners.config import EndpointConfig, LocalConfig
    from embedder.reasoners.encoder import ReasonedEncoder
    from embedder.reasoners.reasoner import Reasoner
    from embedder.sentence.encoder import SentenceEncoder
    from embedder.version import Manifest
    from recall.index import ItemIndex
    from recall.search import Recall
    from serving.recommend import LogOf, Recommender


def _revealed(secrets: Mapping[str, Secret[T]]) -> dict[str, T]:
    """What a mapping of secrets hides; for the client that needs it, and for nobody else."""
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


def open_lake(settings: Settings) -> Lake:
    """The deployment's lake; it comes into being with its first table."""
    return Lake(settings.lake_uri, storage_options=_revealed(settings.lake_options))


def image_config(settings: Settings) -> ImageConfig:
    """Where the deployment's images may be fetched from."""
    return ImageConfig(
        allow=settings.media_allow,
        buckets=settings.media_buckets,
        store_options=_revealed(settings.lake_options),
    )


def kafka_config(settings: Settings) -> "KafkaConfig":
    """The deployment's brokers and topics.

    Raises:
        ValueError: no brokers are set.
    """
    from catalog.kafka.config import KafkaConfig

    if not settings.kafka:
        raise ValueError("no Kafka brokers are set; set PONDER_KAFKA, e.g. to kafka:9092")
    security = _revealed(settings.kafka_security)
    return KafkaConfig(bootstrap_servers=settings.kafka, security=security)


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


def open_index(settings: Settings) -> "ItemIndex":
    """The deployment's index; close it, for a Milvus Lite folder has one holder at a time."""
    from recall.collection import IndexConfig
    from recall.index import ItemIndex

    if not settings.milvus:
        settings.home.mkdir(parents=True, exist_ok=True)
    token = settings.milvus_token.get_secret_value()
    return ItemIndex.open(IndexConfig(uri=settings.milvus_uri, token=token))


def open_encoder(settings: Settings) -> "CatalogueEncoder":
    """The configured embedder, with its reasoner; loaded once in a process."""
    if settings.model.startswith(SENTENCE):
        return _load_sentence_encoder(settings.model.removeprefix(SENTENCE), settings.device)
    from embedder.mmemb_r1 import EmbedderConfig

    model = settings.registry.model(settings.model)
    config = EmbedderConfig(model=model, device=settings.device, policy=settings.policy)
    reasoner = other_reasoner(settings)
    if reasoner is None:
        return _load_encoder(config)
    options = tuple(sorted(_revealed(settings.lake_options).items()))
    return _load_reasoned_encoder(config, reasoner, settings.lake_uri, options)


@functools.lru_cache(maxsize=2)
def _load_encoder(config: "EmbedderConfig") -> "MMEmbR1":
    from embedder.mmemb_r1 import MMEmbR1

    return MMEmbR1.open(config)


@functools.lru_cache(maxsize=2)
def _load_sentence_encoder(model: str, device: str) -> "SentenceEncoder":
    from embedder.sentence.encoder import SentenceEncoder

    return SentenceEncoder.open(model, device=device)


@functools.lru_cache(maxsize=2)
def _load_reasoned_encoder(
    config: "EmbedderConfig",
    reasoner: "EndpointConfig | LocalConfig",
    lake_uri: str,
    lake_options: tuple[tuple[str, str], ...],
) -> "ReasonedEncoder":
    from embedder.model.checkpoint import load
    from embedder.reasoners.cache import CachedReasoner, MemoryStore
    from embedder.reasoners.encoder import ReasonedEncoder

    writer = _open_reasoner(reasoner)
    kept = LakeRationales(
        Lake(lake_uri, storage_options=dict(lake_options)),
        reasoner=writer.name,
        prompt_version=writer.prompt_version,
    )
    cached = CachedReasoner(writer, queries=MemoryStore(), items=kept)
    return ReasonedEncoder(load(config.model, device=config.device), config, cached)


def _open_reasoner(config: "EndpointConfig | LocalConfig") -> "Reasoner":
    from embedder.reasoners.config import LocalConfig

    if isinstance(config, LocalConfig):
        from embedder.reasoners.local import LocalReasoner

        return LocalReasoner.open(config)
    from embedder.reasoners.endpoint import EndpointReasoner

    return EndpointReasoner(config)


def other_reasoner(settings: Settings) -> "EndpointConfig | LocalConfig | None":
    """The configured reasoner; None when it is the embedder itself."""
    from embedder.reasoners.config import EndpointConfig, LocalConfig

    kind, _, model = settings.reasoner.partition(":")
    if kind == "openai":
        return EndpointConfig(
            base_url=settings.reasoner_url,
            model=model,
            key=settings.reasoner_key.get_secret_value(),
            max_tokens=settings.reasoner_max_tokens,
            timeout_s=settings.reasoner_timeout_s,
            concurrency=settings.reasoner_concurrency,
        )
    if kind == "model":
        return LocalConfig(
            model=model, device=settings.device, max_tokens=settings.reasoner_max_tokens
        )
    return None


def configured_version(settings: Settings) -> str:
    """Id of the configured embedder and its reasoner, without loading them."""
    from embedder.reasoners.reasoner import reasoned_version
    from embedder.sentence.version import sentence_version
    from embedder.version import configured_version

    if settings.model.startswith(SENTENCE):
        return sentence_version(settings.model.removeprefix(SENTENCE))
    is_registered = settings.model.startswith(REGISTRY)
    version_of = _unchanging_version if is_registered else configured_version
    version = version_of(settings.registry.model(settings.model), settings.policy)
    reasoner = other_reasoner(settings)
    if reasoner is None:
        return version
    return reasoned_version(version, reasoner=reasoner.name, prompt_version=reasoner.prompt_version)


def configured_manifest(settings: Settings) -> "Manifest":
    """How the configured embedder is used; a sentence-transformers model never reasons."""
    from embedder.sentence.version import sentence_name
    from embedder.version import Manifest, read_manifest, resolve

    if settings.model.startswith(SENTENCE):
        return Manifest(name=sentence_name(settings.model.removeprefix(SENTENCE)), theta=1.0)
    return read_manifest(resolve(settings.registry.model(settings.model)))


def configured_reasoner(settings: Settings) -> tuple[str, str]:
    """Name and prompt version under which the configured embedder's rationales are kept."""
    from embedder.prompting.template import TEMPLATE_VERSION

    reasoner = other_reasoner(settings)
    if reasoner is None:
        return configured_version(settings), str(TEMPLATE_VERSION)
    return reasoner.name, reasoner.prompt_version


def open_recall(settings: Settings, index: "ItemIndex") -> "Recall":
    """Recall over an open index, with the configured encoder and the lake's histories."""
    from recall.search import Recall

    def encoder_of(version: str) -> "CatalogueEncoder":
        encoder = open_encoder(settings.replace(model=_model_of(settings, version)))
        if encoder.version != version:
            raise LookupError(
                f"the configured model {settings.model!r} is {encoder.version!r}; set PONDER_MODEL "
                "to the live one, or embed, index and promote the configured one"
            )
        return encoder

    return Recall(index, encoder_of, history_reader(open_lake(settings)))


def open_recommender(settings: Settings, recall: "Recall") -> "Recommender":
    """Recommendations over recall, with the ranker that was trained last and the lake's log."""
    from ranker.saved import SavedRanker
    from serving.recommend import Recommender

    saved = SavedRanker(settings.ranker_folder)
    return Recommender(recall, saved.latest, log_reader(open_lake(settings)))


def _model_of(settings: Settings, version: str) -> str:
    """The registered model that is this version; the configured one where there is none.

    A new champion goes live when everything is embedded; until then the service, whose settings
    follow the champion, must answer with the version before.
    """
    if settings.model.startswith(REGISTRY):
        for model in settings.registry.models():
            if configured_version(settings.replace(model=model)) == version:
                return model
    return settings.model


@functools.lru_cache
def _unchanging_version(folder: str, policy: "Policy") -> str:
    """Id of a registered version, hashed once: no file of it ever changes."""
    from embedder.version import configured_version

    return configured_version(folder, policy)


def history_reader(lake: Lake) -> Callable[[str], list[str]]:
    """A function that gives the ids of a user's liked items, newest first."""
    from catalog.lake.tables import EVENTS
    from features.histories import HistoryConfig, positive_events

    def history_of(user_id: str) -> list[str]:
        events = lake.scan(EVENTS).filter(pl.col("user_id") == user_id).collect()
        liked = positive_events(events, config=HistoryConfig())
        newest_first = liked.sort(["ts", "item_id"], descending=[True, False])
        return newest_first["item_id"].unique(maintain_order=True).to_list()

    return history_of


def log_reader(lake: Lake) -> "LogOf":
    """A function that reads what the features of one user's candidates are made from."""
    from catalog.lake.tables import EVENTS
    from features.log import Log

    def log_of(version: str, user_id: str, item_ids: Sequence[str]) -> Log:
        is_users = pl.col("user_id") == user_id
        events = lake.scan(EVENTS).filter(is_users | pl.col("item_id").is_in(item_ids)).collect()
        needed = [*{*item_ids, *events.filter(is_users)["item_id"]}]
        items = lake.scan(ITEMS).filter(pl.col("item_id").is_in(needed)).collect()
        return Log(events, items, known_vectors(lake, version, item_ids=needed))

    return log_of


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


def known_vectors(
    lake: Lake, version: str, *, item_ids: Sequence[str] | None = None
) -> pl.DataFrame:
    """item_id, vector and model_version of every item the version ever embedded, one row each.

    Only of some items when `item_ids` are given.

    The vector of an item's present content where there is one, else that of an earlier content: a
    history may hold items that have since changed or gone.
    """
    present = lake.scan(ITEMS).select("item_id", present_hash="content_hash")
    wanted = pl.lit(True) if item_ids is None else pl.col("item_id").is_in(item_ids)
    return (
        lake.scan(EMBEDDINGS)
        .filter((pl.col("model_version") == version) & wanted)
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
