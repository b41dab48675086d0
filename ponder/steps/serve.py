"""Run the HTTP service on the deployment's index."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from catalog.lake.item_lookup import ItemLookup
from catalog.lake.lake import Lake
from features.served import ServedFeatures
from ponder.settings import Settings
from ponder.steps.embed import embed_shard
from ponder.steps.progress import ignore_progress
from ponder.telemetry.tracing import TracedRequests, trace_to
from ponder.wiring.artifacts import follow, shared
from ponder.wiring.encoder import open_encoder
from ponder.wiring.service import (
    image_fetcher,
    open_counts,
    open_history_store,
    open_item_writer,
    open_live_log,
    open_recall,
    open_recommender,
    open_state,
)
from ponder.wiring.stores import open_lake, open_living_search

if TYPE_CHECKING:
    from ponder.wiring.item_writer import Embed
    from recall.search import Recall

FOLLOW_S = 1.0
"""Seconds between two looks at which version is live."""

REFRESH_S = 1.0
"""Seconds after which what the service keeps in memory is brought in step with the lake."""

ARTIFACTS_S = 30.0
"""Seconds between two looks at the store of artefacts, where there is one."""

VALIDATION_S = 30.0
"""Seconds between two looks at what the live version's validation found."""


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    is_open: bool = False,
    announce: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer over HTTP until stopped; the model is loaded before the service listens.

    Args:
        settings: the deployment.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        is_open: listen beyond this machine although there are no API keys.
        announce: called with the address once the service listens.

    Raises:
        ValueError: whoever reaches the host could ask everything.
    """
    if not (settings.api_keys or is_open or _is_loopback(host)):
        raise ValueError(
            f"a service that listens on {host} must have API keys: make one with ponder key, or "
            "say --insecure-no-keys where something in front of it checks who asks"
        )
    from recall.catalogue_store import CatalogueStore
    from serving.api_keys import ApiKey
    from serving.app import create_app
    from serving.catalogue import Catalogue
    from serving.draining import Drain
    from serving.live_validation import LiveValidation
    from serving.refreshing import refreshed
    from serving.server import run

    trace_to(settings.trace_endpoint)

    def artefacts() -> None:
        follow(settings, "rankers", "features", max_age_s=0.0)
        with shared(settings, "served"):
            pass

    artefacts()
    open_encoder(settings)
    lake, histories = open_lake(settings), open_history_store(settings)
    catalogue, items, counts = CatalogueStore(lake), ItemLookup(lake), open_counts(settings)
    refreshes = {
        "histories": histories.refresh,
        "items": items.refresh,
        "catalogue": catalogue.refresh,
        "what is liked together": counts.refresh,
    }
    drain = Drain()
    with (
        open_living_search(settings) as index,
        refreshed({"vectors": index.refresh, **refreshes}, every_s=REFRESH_S),
        refreshed({"artefacts": artefacts}, every_s=ARTIFACTS_S),
        _followed(
            open_recall(settings, index, histories, catalogue=catalogue, items=items, counts=counts)
        ) as recall,
    ):
        log, validation = open_live_log(settings, recall, counts), LiveValidation(lake)
        with (
            refreshed({"what describes items": log.refresh}, every_s=REFRESH_S),
            refreshed({"what validation found": validation.refresh}, every_s=VALIDATION_S),
            _served(settings) as served,
        ):
            app = create_app(
                recall,
                open_recommender(settings, recall, log, served=served),
                catalogue=Catalogue(lake),
                state=open_state(settings, recall),
                items=items,
                fetch_image=image_fetcher(settings),
                writer=open_item_writer(settings, recall, _embed_one(lake)),
                keys={
                    name: ApiKey(key.sha256, key.scopes) for name, key in settings.api_keys.items()
                },
                drain=drain,
                is_followed=True,
                validation=validation,
            )
            if settings.trace_endpoint:
                app.add_middleware(TracedRequests)
            run(
                app,
                host=host,
                port=port,
                drain=drain,
                logs_access=settings.access_log,
                announce=announce,
            )


@contextmanager
def _followed(recall: "Recall") -> Iterator["Recall"]:
    """Let recall follow the live version, on a thread of its own: to load a model takes a while."""
    from recall.errors import IndexFailed, Unavailable
    from serving.refreshing import refreshed

    with suppress(IndexFailed, Unavailable):  # it is tried again
        recall.live.follow()
    with refreshed({"live version": recall.live.follow}, every_s=FOLLOW_S):
        yield recall


@contextmanager
def _served(settings: Settings) -> Iterator[ServedFeatures | None]:
    """Keep features as they are served, where that is wanted; what is held at the end as well."""
    from serving.refreshing import refreshed

    if not settings.keep_served_features:
        yield None
        return
    served = ServedFeatures(settings.served_folder)
    with refreshed({"features as served": served.flush}, every_s=REFRESH_S):
        yield served
    served.flush(now=True)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _embed_one(lake: Lake) -> "Embed":
    """Return the function that embeds one item, as the nightly run embeds a shard."""
    return lambda encoder, item_id: embed_shard(
        lake, encoder, (item_id, item_id), progress=ignore_progress
    )
