"""Run the HTTP service on the deployment's index."""

from catalog.lake.item_lookup import ItemLookup
from ponder.settings import Settings
from ponder.wiring.encoder import open_encoder
from ponder.wiring.service import (
    image_fetcher,
    open_history_store,
    open_recall,
    open_recommender,
    open_state,
)
from ponder.wiring.stores import open_index, open_lake

REFRESH_S = 1.0
"""Seconds after which what the service keeps in memory is brought in step with the lake."""


def serve(settings: Settings, *, host: str, port: int) -> None:
    """Answer over HTTP until stopped; the model is loaded before the service listens."""
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
    with open_index(settings) as milvus, refreshed(refreshes, every_s=REFRESH_S):
        recall = open_recall(settings, milvus, histories, catalogue=catalogue, items=items)
        app = create_app(
            recall,
            open_recommender(settings, recall),
            catalogue=Catalogue(lake),
            state=open_state(settings, recall),
            items=items,
            fetch_image=image_fetcher(settings),
        )
        run(app, host=host, port=port)
