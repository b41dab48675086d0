"""Open what answers requests: recall and recommendations over the deployment's own data."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from catalog.images.image import ImageConfig
from catalog.lake.index_versions import IndexVersions
from catalog.lake.item_lookup import ItemLookup
from features.groups import groups_named
from features.history_store import (
    Histories,
    HistoryStore,
    HistoryStoreConfig,
    ScannedHistories,
)
from features.served import ServedFeatures
from ponder.settings import Settings
from ponder.wiring.artifacts import follow
from ponder.wiring.codes import CodebooksInUse, open_codebooks
from ponder.wiring.counts import DailyCounts
from ponder.wiring.encoder import configured_version, open_encoder
from ponder.wiring.golden_vectors import check_golden_vectors
from ponder.wiring.item_writer import Embed, LakeItemWriter
from ponder.wiring.live_log import LiveLog
from ponder.wiring.stores import image_config, open_lake

if TYPE_CHECKING:
    from embedder.content import CatalogueEncoder
    from ranker.model import Ranker
    from recall.catalogue_store import CatalogueStore
    from recall.search import Recall
    from recall.vector_search import VectorSearch
    from serving.recommend import Recommender
    from serving.state import State

QUERY_IMAGE_S = 5.0
"""Seconds that an image may take that somebody waits for."""


def open_recall(
    settings: Settings,
    index: "VectorSearch",
    histories: Histories | None = None,
    *,
    catalogue: "CatalogueStore | None" = None,
    items: ItemLookup | None = None,
    counts: DailyCounts | None = None,
) -> "Recall":
    """Open recall over an index, with the configured encoder.

    Args:
        settings: the deployment.
        index: where the vectors are.
        histories: of the users; None reads the lake's events with every question.
        catalogue: words, newest items and attributes; see `recall.search.Recall`.
        items: tells near-duplicates by their images, and which items are there though they have no
            vector; None: only vectors tell.
        counts: tell what is liked together; None: nothing is found that way.
    """
    from recall.living_items import LivingItems
    from recall.query_encoder import QueryEncoderConfig
    from recall.search import Recall

    users = histories or ScannedHistories(open_lake(settings), history_config(settings))

    def encoder_of(version: str) -> "CatalogueEncoder":
        encoder = open_encoder(settings.replace(model=_model_of(settings, version)))
        if encoder.version != version:
            raise LookupError(
                f"the configured model {settings.model!r} is {encoder.version!r}; set PONDER_MODEL "
                "to the live one, or embed, index and promote the configured one"
            )
        try:
            check_golden_vectors(open_lake(settings), encoder, keeps=False)
        except ValueError as error:
            raise LookupError(str(error)) from error
        return encoder

    return Recall(
        index,
        encoder_of,
        users,
        catalogue=catalogue,
        image_hashes_of=None if items is None else items.image_hashes,
        neighbours=None if counts is None else counts.now,
        living=None if items is None else LivingItems(items),
        queue=QueryEncoderConfig(max_waiting=settings.max_waiting),
        centre_of=cache(partial(centre_of, settings)),
        codes_of=CodebooksInUse(settings),
    )


def centre_of(settings: Settings, version: str) -> np.ndarray | None:
    """Return what is taken off profiles: [D] the mean of a version's vectors when it was validated.

    None where the settings do not want it, or the version was never validated.
    """
    known = IndexVersions(open_lake(settings)).of(version) if settings.centre_profiles else None
    mean = known.measured.get("centroid_D") if known is not None else None
    return np.array(mean) if mean else None


def history_config(settings: Settings) -> HistoryStoreConfig:
    """Return how much of every user's history is kept."""
    return HistoryStoreConfig(max_items=settings.history_items)


def open_history_store(settings: Settings) -> HistoryStore:
    """Open the users' histories in memory, read once; `refresh` keeps them in step."""
    store = HistoryStore(open_lake(settings), history_config(settings))
    store.refresh()
    return store


def image_fetcher(settings: Settings) -> Callable[[str], bytes]:
    """Return the function that fetches the image behind an address in a query.

    By the rules of the landing, in one attempt and a few seconds.
    """
    from serving.images import MAX_IMAGE_BYTES, fetch_image

    config = replace(_impatient(image_config(settings)), max_bytes=MAX_IMAGE_BYTES)
    return lambda url: fetch_image(url, config)


def open_item_writer(settings: Settings, recall: "Recall", embed: Embed) -> LakeItemWriter:
    """Open what lands items that are put and deleted through the service.

    Their images are fetched by the rules of the landing, in one attempt and a few seconds.
    """
    config = _impatient(image_config(settings))
    codebooks_of = CodebooksInUse(settings)
    return LakeItemWriter(open_lake(settings), recall, embed, config, codebooks_of=codebooks_of)


def _impatient(config: ImageConfig) -> ImageConfig:
    return replace(
        config,
        connect_timeout_s=QUERY_IMAGE_S,
        read_timeout_s=QUERY_IMAGE_S,
        total_timeout_s=QUERY_IMAGE_S,
        max_attempts=1,
    )


def _model_of(settings: Settings, version: str) -> str:
    """The registered model that is this version; the configured one where there is none.

    A new champion goes live when everything is embedded; until then the service, whose settings
    follow the champion, must answer with the version before.
    """
    follow(settings, "models")
    for model in settings.registry.models():
        if configured_version(settings.replace(model=model)) == version:
            return model
    return settings.model


def open_counts(settings: Settings) -> DailyCounts:
    """Open the counts of what was liked together; `refresh` keeps them in step with the lake."""
    with_swing = "swing" in groups_named(settings.feature_set)
    return DailyCounts(open_lake(settings), settings.features_folder, with_swing=with_swing)


def open_live_log(
    settings: Settings, recall: "Recall", counts: DailyCounts | None = None
) -> LiveLog:
    """Open what the features of a request are made from; `refresh` keeps it in memory.

    Args:
        settings: the deployment.
        recall: whose index holds the vectors.
        counts: of what was liked together; None opens them.
    """

    def codes_of(vectors_VD: np.ndarray, version: str, codes_id: str) -> np.ndarray:
        from recall.errors import Unavailable

        try:
            return open_codebooks(settings, version, codes_id).assign(vectors_VD)
        except ValueError as error:
            raise Unavailable(f"features of codes cannot be made: {error}") from error

    return LiveLog(
        open_lake(settings),
        recall,
        counts or open_counts(settings),
        landings_from=settings.landings_from,
        codes_of=codes_of,
    )


def open_recommender(
    settings: Settings,
    recall: "Recall",
    log: LiveLog | None = None,
    *,
    served: ServedFeatures | None = None,
) -> "Recommender":
    """Open recommendations over recall, with each version's champion and the lake's log.

    Args:
        settings: the deployment.
        recall: finds the candidates.
        log: kept in step by whoever answers many; None reads the lake with every question.
        served: keeps the features of what is answered; None: nobody does.
    """
    from serving.rank import Ranking
    from serving.recommend import Recommender

    log = log or open_live_log(settings, recall)
    return Recommender(
        recall,
        Ranking(champions(settings), log.known, served=None if served is None else served.add),
        unindexed_version=lambda: configured_version(settings),
    )


def champions(settings: Settings) -> Callable[[str], "Ranker"]:
    """Return the ranker in use of an embedder version, read again when another is promoted.

    The function raises FileNotFoundError before the first is promoted, and ValueError when what was
    saved cannot be used.
    """
    from ranker.saved import SavedRanker

    saved: dict[str, SavedRanker] = {}

    def champion_of(version: str) -> "Ranker":
        if version not in saved:
            saved[version] = SavedRanker(settings.rankers(version).champion_folder)
        return saved[version].latest()

    return champion_of


def open_state(settings: Settings, recall: "Recall") -> "State":
    """Open the state of the deployment: its lake's tables, and the version that recall answers."""
    from recall.errors import IndexFailed, Unavailable
    from serving.state import State

    def live_version() -> str | None:
        try:
            return recall.live.get()
        except (IndexFailed, Unavailable):
            return None

    return State(open_lake(settings), live_version)
