"""Routes to look at what is served: items, images, users, the catalogue and the state."""

from typing import Annotated

from fastapi import FastAPI, Query, Response

from serving.catalogue import Catalogue
from serving.catalogue_replies import CatalogueReply, ItemReply, ItemsReply, UserReply
from serving.errors import READ_ERRORS, error_replies
from serving.state import State
from serving.state_replies import StateReply
from serving.workers import Workers

MAX_ITEMS = 100
BROWSING_THREADS = 4
IMAGE_HEADERS = {
    # An image's address is a digest of it, so what lies behind it never changes.
    "Cache-Control": "private, max-age=86400, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
}
WEBP: dict[str, object] = {"content": {"image/webp": {}}}
MP3: dict[str, object] = {"content": {"audio/mpeg": {}}}

Ids = Annotated[
    list[Annotated[str, Query(min_length=1, max_length=256)]],
    Query(default_factory=list, max_length=MAX_ITEMS),
]


def add_browsing(app: FastAPI, catalogue: Catalogue, state: State, *, wait_s: float) -> None:
    """Add the routes; they have a few threads of their own, for they scan the lake.

    Args:
        app: whose routes they become.
        catalogue: the items, images and users.
        state: versions, freshness and drift.
        wait_s: seconds that a request waits for a thread; after them the answer is 503.
    """
    workers = Workers(BROWSING_THREADS, wait_s=wait_s)

    @app.get("/v1/items", responses=error_replies(*READ_ERRORS))
    async def get_items(item_id: Ids) -> ItemsReply:
        """Return those of the items that are there, in the order of the ids; at most 100."""
        return ItemsReply(items=await workers.run(lambda: catalogue.items(item_id)))

    @app.get("/v1/items/{item_id:path}", responses=error_replies(404, *READ_ERRORS))
    async def get_item(item_id: str) -> ItemReply:
        """Return one item; 404 for one that is not there or deleted."""
        return await workers.run(lambda: catalogue.item(item_id))

    @app.get(
        "/v1/images/{image_hash}",
        response_class=Response,
        responses={200: WEBP, **error_replies(404, *READ_ERRORS)},
    )
    async def get_image(image_hash: str) -> Response:
        """Return an image as WebP of at most 320 pixels a side, encoded anew."""
        image = await workers.run(lambda: catalogue.image(image_hash))
        return Response(image, media_type="image/webp", headers=IMAGE_HEADERS)

    @app.get(
        "/v1/clips/{video_hash}",
        response_class=Response,
        responses={200: WEBP, **error_replies(404, *READ_ERRORS)},
    )
    async def get_clip(video_hash: str) -> Response:
        """Return frames of a clip as an animated WebP of at most 320 pixels a side."""
        clip = await workers.run(lambda: catalogue.clip(video_hash))
        return Response(clip, media_type="image/webp", headers=IMAGE_HEADERS)

    @app.get(
        "/v1/audio/{audio_hash}",
        response_class=Response,
        responses={200: MP3, **error_replies(404, *READ_ERRORS)},
    )
    async def get_audio(audio_hash: str) -> Response:
        """Return the first ten seconds of a sound as MP3, encoded anew."""
        sound = await workers.run(lambda: catalogue.audio(audio_hash))
        return Response(sound, media_type="audio/mpeg", headers=IMAGE_HEADERS)

    @app.get("/v1/users/{user_id:path}", responses=error_replies(404, *READ_ERRORS))
    async def get_user(user_id: str) -> UserReply:
        """Return what a user did; a stranger did nothing."""
        return await workers.run(lambda: catalogue.user(user_id))

    @app.get("/v1/catalogue", responses=error_replies(*READ_ERRORS))
    async def get_catalogue() -> CatalogueReply:
        """Return what there is to look for: newest items, categories, tags, active users."""
        return await workers.run(catalogue.overview)

    @app.get("/v1/state", responses=error_replies(*READ_ERRORS))
    async def get_state() -> StateReply:
        """Return versions, freshness and drift, as they were at most ten seconds ago."""
        return await workers.run(state.read)
