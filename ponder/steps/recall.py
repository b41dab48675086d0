"""Ask the live version once, without a service."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import ValidationError

from catalog.lake.item_lookup import ItemLookup
from catalog.lake.tables import ITEMS
from ponder.settings import Settings
from ponder.wiring.encoder import open_encoder
from ponder.wiring.service import image_fetcher, open_recall
from ponder.wiring.stores import open_lake, open_living_search

if TYPE_CHECKING:
    from serving.replies import RecallReply


def recall(settings: Settings, request: Mapping[str, Any]) -> "RecallReply":
    """Return what the live version answers to a request of the recall service.

    The items' words are read only for a request that needs them, which costs seconds on a large
    catalogue; a service reads them once.

    Raises:
        ValueError: the request is not one; see `serving.requests.RecallRequest`.
        LookupError: the item or version is not known, or with `strict` the user.
        RuntimeError: no version is live, or another one than the configured model's.
    """
    from recall.catalogue_store import CatalogueStore
    from serving.errors import error_detail
    from serving.recall import RecallService
    from serving.requests import RecallRequest

    try:
        asked = RecallRequest.model_validate(request)
    except ValidationError as error:
        detail = error_detail(error)
        raise ValueError(detail.message if detail else str(error)) from error
    if asked.kind == "content":
        open_encoder(settings)  # so that `took_ms` is the query's time and not the model's loading
    lake = open_lake(settings)
    items, catalogue = ItemLookup(lake), CatalogueStore(lake)
    if asked.hybrid or asked.filter.attributes or asked.kind in ("user", "history"):
        catalogue.refresh()
    with open_living_search(settings) as index:
        opened = open_recall(settings, index, catalogue=catalogue, items=items)
        service = RecallService(opened, items=items, fetch_image=image_fetcher(settings))
        return service.answer(asked)


def titles_of(settings: Settings, item_ids: Sequence[str]) -> dict[str, str]:
    """Return the titles of items as a person reads them; empty for an item without one."""
    found = open_lake(settings).scan(ITEMS).filter(pl.col("item_id").is_in(item_ids)).collect()
    return dict(zip(found["item_id"], found["title"].fill_null(""), strict=True))
