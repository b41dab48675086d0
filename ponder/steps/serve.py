"""Run the HTTP service on the deployment's index."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from catalog.lake.item_lookup import ItemLookup
from catalog.lake.lake import Lake
from ponder.settings import Settings
from ponder.steps.embed import embed_shard
from ponder.steps.progress import ignore_progress
from ponder.wiring.encoder import open_encoder
from ponder.wiring.service import (
    image_fetcher,
    open_history_store,
    open_item_writer,
    open_recall,
    open_recommender,
    open_state,
)
from ponder.wiring.stores import open_lake, open_search

if TYPE_CHECKING:
    from ponder.wiring.item_writer import Embed

REFRESH_S = 1.0
"""Seconds after which what the service keeps in memory is brought in step with the lake."""


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    announce: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer over HTTP until stopped; the model is loaded before the service listens.

    Args:
        settings: the deployment.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        announce: called with the address once the service listens.
    """
    from recall.catalogue_store import CatalogueStore
    from serving.app import create_app
    from serving.catalogue import Catalogue
    from serving.refreshing import refreshed
    from serving.server import run

    open_encoder(settings)
    lake, histories = open_lake(settings), open_history_store(settings)
    catalogue, items = CatalogueStore(lake), ItemLookup(lake)
    refreshes = {
        "histories": histories.refresh,
        "items": items.refresh,
        "catalogue": catalogue.refresh,
    }
    with (
        open_search(settings) as index,
        refreshed({"vectors": index.refresh, **refreshes}, every_s=REFRESH_S),
    ):
        recall = open_recall(settings, index, histories, catalogue=catalogue, items=items)
        app = create_app(
            recall,
            open_recommender(settings, recall),
            catalogue=Catalogue(lake),
            state=open_state(settings, recall),
            items=items,
            fetch_image=image_fetcher(settings),
            writer=open_item_writer(settings, recall, _embed_one(lake)),
        )
        run(app, host=host, port=port, announce=announce)


def _embed_one(lake: Lake) -> "Embed":
    """Return the function that embeds one item, as the nightly run embeds a shard."""
    return lambda encoder, item_id: embed_shard(
        lake, encoder, (item_id, item_id), progress=ignore_progress
    )
