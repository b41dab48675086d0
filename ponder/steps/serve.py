"""Run the HTTP service on the deployment's index."""

from ponder.settings import Settings
from ponder.wiring import open_encoder, open_index, open_recall


def serve(settings: Settings, *, host: str, port: int) -> None:
    """Answers recall requests over HTTP until it is stopped; loads the model before it listens."""
    import uvicorn

    from serving.service import create_app

    open_encoder(settings)
    with open_index(settings) as milvus:
        app = create_app(open_recall(settings, milvus))
        uvicorn.run(app, host=host, port=port, log_level="warning")
