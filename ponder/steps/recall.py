"""Ask the live version once, without a service."""

from typing import Any

import polars as pl

from catalog.lake.tables import ITEMS
from ponder.settings import Settings
from ponder.steps.land import Counts
from ponder.wiring import open_encoder, open_index, open_lake, open_recall


def recall(settings: Settings, request: dict[str, Any]) -> Counts:
    """What the live version answers to a request of the recall service, with titles.

    Raises:
        ValueError: the request is not one; see `serving.requests.RecallRequest`.
        LookupError: the item or user is not known.
        RuntimeError: no version is live, or another one than the configured model's.
    """
    from serving.requests import RecallReply, RecallRequest
    from serving.service import answer

    asked = RecallRequest.model_validate(request)
    if asked.kind == "content":
        open_encoder(settings)  # so that `took_ms` is the query's time and not the model's loading
    with open_index(settings) as milvus:
        candidates = answer(open_recall(settings, milvus), asked)
    reply = RecallReply.of(candidates).model_dump()
    ids = candidates.frame["item_id"].to_list()
    found = open_lake(settings).scan(ITEMS).filter(pl.col("item_id").is_in(ids)).collect()
    titles = dict(zip(found["item_id"], found["title"], strict=True))
    for candidate in reply["candidates"]:
        candidate["title"] = titles.get(candidate["item_id"]) or ""
    return reply
