"""Count what a deployment holds."""

from dataclasses import dataclass

from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, EVENTS, ITEMS
from ponder.settings import Settings
from ponder.steps.embed import plan
from ponder.wiring.stores import open_index, open_lake


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """Rows of the lake's tables, versions of the index, and what is left to embed."""

    items: int
    """Not counting the deleted."""

    deleted_items: int
    events: int
    dead_letters: int
    embeddings: int

    left_to_embed: int
    """Items that the configured version has yet to embed."""

    indexed: dict[str, int]
    """Items in the index, by model version."""

    live: str | None
    """The version that is served; None before the first."""

    previous: str | None
    """The version that a rollback would serve."""


def status(settings: Settings) -> Status:
    """Count what the deployment holds."""
    lake = open_lake(settings)
    is_deleted = lake.read(ITEMS, ["deleted"])["deleted"].to_list()
    with open_index(settings) as milvus:
        versions = {version: milvus.count(version) for version in milvus.versions()}
        live, previous = milvus.live_version(), milvus.previous_version()
    return Status(
        items=is_deleted.count(False),
        deleted_items=is_deleted.count(True),
        events=len(lake.read(EVENTS, ["event_id"])),
        dead_letters=len(lake.read(DEAD_LETTERS, ["topic"])),
        embeddings=len(lake.read(EMBEDDINGS, ["item_id"])),
        left_to_embed=plan(settings).num_items,
        indexed=versions,
        live=live,
        previous=previous,
    )
