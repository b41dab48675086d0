"""Run the HTTP service on the deployment's index."""

from ponder.settings import Settings
from ponder.wiring.encoder import open_encoder
from ponder.wiring.service import open_recall, open_recommender, open_state
from ponder.wiring.stores import open_index, open_lake


def serve(settings: Settings, *, host: str, port: int) -> None:
    """Answer over HTTP until stopped; the model is loaded before the service listens."""
    from serving.app import create_app
    from serving.catalogue import Catalogue
    from serving.server import run

    open_encoder(settings)
    with open_index(settings) as milvus:
        recall = open_recall(settings, milvus)
        app = create_app(
            recall,
            open_recommender(settings, recall),
            catalogue=Catalogue(open_lake(settings)),
            state=open_state(settings, recall),
        )
        run(app, host=host, port=port)
