"""What the service says of items, users and the catalogue as a whole.

Titles, texts and attributes are what senders wrote: whoever shows them escapes them.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

AttributeValue = str | int | float | bool


class ItemReply(BaseModel):
    """One item that is not deleted."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: str
    """Id of the item."""

    title: str | None
    """Untrusted; null when it has none."""

    text: str | None
    """Untrusted; null when it has none."""

    category: str | None
    """Untrusted; null when it has none."""

    tags: list[str]
    """Untrusted; sorted."""

    attributes: dict[str, AttributeValue]
    """Untrusted; what filters compare."""

    image: str | None
    """Path of a small image of it, e.g. `/v1/images/316aaa78`; null when it has none."""

    gallery: list[str]
    """Paths of its further images, in their order."""

    clip: str | None
    """Path of a small animation of its clip, e.g. `/v1/clips/77ab0c12`; null when it has none."""

    audio: str | None
    """Path of the start of its sound, e.g. `/v1/audio/5e0d91c3`; null when it has none."""

    created_at: datetime
    """When it first appeared."""

    updated_at: datetime
    """When its source last changed it."""


class ItemsReply(BaseModel):
    """The items asked for that are there, in the order in which they were asked for."""

    items: list[ItemReply]


class UserReply(BaseModel):
    """What a user did."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    user_id: str
    """Id of the user."""

    num_events: int
    """Everything that is known of them, impressions too."""

    last_event_at: datetime | None
    """When they were last seen; null for a stranger."""

    liked: list[ItemReply]
    """The newest items that they liked, newest first; deleted ones are left out."""


class ValueCount(BaseModel):
    """A value and the number of items that have it."""

    value: str
    num_items: int


class ActiveUser(BaseModel):
    """A user of whom there are recent events."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    user_id: str
    """Id of the user."""

    num_events: int
    """Among the newest events that speak for an item."""


class CatalogueReply(BaseModel):
    """What there is to look for: enough to fill a page's lists, not a statistic."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    num_items: int
    """Not counting the deleted."""

    newest: list[ItemReply]
    """The items that changed last, newest first."""

    categories: list[ValueCount]
    """The most frequent, most frequent first."""

    tags: list[ValueCount]
    """The most frequent, most frequent first."""

    attributes: list[str]
    """Names that the newest items have, sorted."""

    users: list[ActiveUser]
    """Those who liked most of late, most first."""
