"""Items put and deleted one at a time, through the landing that everything else comes through."""

from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from catalog.record_parsing import MAX_ID_CHARS, MAX_IMAGES, MAX_TAGS, MAX_TEXT_CHARS
from serving.errors import QUERY_ERRORS, error_replies
from serving.replies import ItemChangeReply
from serving.workers import Workers

WRITING_THREADS = 4

ItemIdInPath = Annotated[str, Path(min_length=1, max_length=MAX_ID_CHARS)]


class ItemWriter(Protocol):
    """Lands changes, and makes them searchable."""

    def put(self, item_id: str, body: bytes) -> ItemChangeReply:
        """Land the item that a body holds.

        Raises:
            InvalidItem: it cannot be landed, and is a dead letter now.
        """
        ...

    def delete(self, item_id: str) -> ItemChangeReply:
        """Land an item's tombstone.

        Raises:
            InvalidItem: it cannot be landed, and is a dead letter now.
        """
        ...


class ItemBody(BaseModel):
    """An item as Kafka brings it; what the landing does not know is ignored."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: str | None = None
    """That of the address, or left out."""

    title: str | None = Field(default=None, max_length=MAX_TEXT_CHARS)
    """Its name, in words."""

    text: str | None = Field(default=None, max_length=MAX_TEXT_CHARS)
    """Everything else that is said of it."""

    category: str | None = Field(default=None, max_length=MAX_TEXT_CHARS)
    """Where it belongs."""

    tags: list[str] | None = Field(default=None, max_length=MAX_TAGS)
    """Words that it goes by."""

    attributes: dict[str, str | int | float | bool | None] | None = None
    """For filters; no embedder sees them."""

    image_uri: str | None = None
    """`data:`, `http:`, `https:` or `s3:`; fetched before the answer."""

    image_uris: list[str] | None = Field(default=None, max_length=MAX_IMAGES)
    """Further images, in their order."""

    video_uri: str | None = None
    """A clip (MP4, WebM, GIF), named as an image is."""

    audio_uri: str | None = None
    """A sound (WAV, FLAC, Ogg, MP3), named as an image is."""

    created_at: str | None = None
    """When it first appeared, with a time zone; the time of the change unless said."""

    updated_at: str | None = None
    """When its source changed it, with a time zone; the newest record of an item wins. The time of
    the request unless said."""


EXAMPLE = {
    "title": "3 red mugs",
    "category": "kitchen",
    "tags": ["gift"],
    "attributes": {"price": 12.5},
    "image_uri": "https://shop.example/mugs.png",
}


def add_item_changes(app: FastAPI, writer: ItemWriter, *, wait_s: float) -> None:
    """Add the routes; they have a few threads of their own, for they wait for lake and model.

    Args:
        app: whose routes they become.
        writer: lands the changes.
        wait_s: seconds that a request waits for a thread; after them the answer is 503.
    """
    workers = Workers(WRITING_THREADS, wait_s=wait_s)
    schema: dict[str, Any] = ItemBody.model_json_schema()
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    body["content"]["application/json"]["example"] = EXAMPLE  # type: ignore[index]

    @app.put(
        "/v1/items/{item_id:path}",
        responses=error_replies(404, *QUERY_ERRORS),
        openapi_extra={"requestBody": body},
    )
    async def put_item(item_id: ItemIdInPath, request: Request) -> ItemChangeReply:
        """Put an item in place of what is known of it; the whole item, not a part.

        It is checked as the landing checks it; one that cannot be landed is a dead letter as well
        as a 422. Then it is embedded and searchable, as `searchable` says.
        """
        content = await request.body()
        return await workers.run(lambda: writer.put(item_id, content))

    @app.delete("/v1/items/{item_id:path}", responses=error_replies(404, *QUERY_ERRORS))
    async def delete_item(item_id: ItemIdInPath) -> ItemChangeReply:
        """Delete an item; one that was never there stays dead for older records under way."""
        return await workers.run(lambda: writer.delete(item_id))
