"""Count what a deployment holds."""

from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, EVENTS, ITEMS
from ponder.settings import Settings
from ponder.steps.embed import plan
from ponder.steps.land import Counts
from ponder.wiring import open_index, open_lake


def status(settings: Settings) -> Counts:
    """What the deployment holds: rows of every table, versions, and what is left to embed."""
    lake = open_lake(settings)
    items = lake.read(ITEMS, ["item_id", "deleted"])
    with open_index(settings) as milvus:
        versions = {version: milvus.count(version) for version in milvus.versions()}
        live, previous = milvus.live_version(), milvus.previous_version()
    return {
        "items": len(items) - items["deleted"].sum(),
        "deleted_items": items["deleted"].sum(),
        "events": len(lake.read(EVENTS, ["event_id"])),
        "dead_letters": len(lake.read(DEAD_LETTERS, ["topic"])),
        "embeddings": len(lake.read(EMBEDDINGS, ["item_id"])),
        "left_to_embed": plan(settings).num_items,
        "indexed": versions,
        "live": live,
        "previous": previous,
    }
