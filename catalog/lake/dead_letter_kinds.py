"""What a dead letter holds, by the topic or file that it came from."""

from typing import Literal

Kind = Literal["items", "events", "embed"]

ITEM_FILES = ("items", "movies")
EVENT_FILES = ("events", "ratings", "interactions")


def kind_of(topic: str, stage: str, *, item_topic: str, event_topic: str) -> Kind | None:
    """Return what a dead letter holds; None when its topic does not tell.

    >>> kind_of("items/part-1.jsonl", "validate", item_topic="items", event_topic="events")
    'items'
    """
    if stage == "embed":
        return "embed"
    if topic == item_topic or topic.startswith(ITEM_FILES):
        return "items"
    if topic == event_topic or topic.startswith(EVENT_FILES):
        return "events"
    return None
