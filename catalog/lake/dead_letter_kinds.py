"""What a dead letter holds, by the topic or file that it came from."""

from typing import Literal

Kind = Literal["items", "events", "embed"]

HTTP_TOPIC = "items/http"
"""In place of a topic, for what came through the service."""

ITEM_FILES = ("items", "movies")
EVENT_FILES = ("events", "ratings", "interactions")


def kind_of(topic: str, stage: str, *, item_topic: str, event_topic: str) -> Kind | None:
    """Return what a dead letter holds; None when its topic does not tell.

    >>> kind_of("items/part-1.jsonl", "validate", item_topic="items", event_topic="events")
    'items'
    >>> kind_of("day=1/events.jsonl", "validate", item_topic="items", event_topic="events")
    'events'
    """
    if stage == "embed":
        return "embed"
    file = _below_partitions(topic)
    if topic == item_topic or file.startswith(ITEM_FILES):
        return "items"
    if topic == event_topic or file.startswith(EVENT_FILES):
        return "events"
    return None


def _below_partitions(path: str) -> str:
    """Return a path from the first folder on that is not named like `day=2026-03-01`."""
    parts = path.split("/")
    while len(parts) > 1 and "=" in parts[0]:
        del parts[0]
    return "/".join(parts)
