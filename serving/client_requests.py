"""What each call of the client sends, and what it makes of the answer."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack
from urllib.parse import quote

from pydantic import BaseModel
from pydantic_core import to_json

from embedder.content import Policy
from recall.filters import Filter
from serving.catalogue_replies import CatalogueReply, ItemReply, ItemsReply, UserReply
from serving.replies import ItemChangeReply, RecallBatchReply, RecallReply, RecommendReply
from serving.state_replies import StateReply

IMAGES = "/v1/images/"
CLIPS = "/v1/clips/"
AUDIO = "/v1/audio/"

Reply = TypeVar("Reply")
Model = TypeVar("Model", bound=BaseModel)


Seen = Literal["none", "liked", "acted", "shown"]
"""Items of a user that are left out; `recall.candidates.Seen`."""


class RecallQuery(TypedDict, total=False):
    """What recall is asked: the fields of `serving.requests.RecallRequest`, and files."""

    text: str
    image: bytes
    """An image file; sent as `image_base64`."""

    image_base64: str
    image_url: str
    video: bytes
    """A clip's file; sent as `video_base64`."""

    video_base64: str
    audio: bytes
    """A sound's file; sent as `audio_base64`."""

    audio_base64: str
    item_id: str
    user_id: str
    history: Sequence[str]
    top_k: int
    filter: Filter | Mapping[str, Any]
    version: str
    exclude_seen: Seen
    interests: int
    code_levels: int
    strict: bool
    mmr_lambda: float
    max_similarity: float
    hybrid: bool
    reasoning: Policy
    max_new_tokens: int
    deadline_ms: int
    explain: bool
    details: bool


class RecommendQuery(TypedDict, total=False):
    """What a recommendation is asked, besides the user."""

    history: Sequence[str]
    top_k: int
    filter: Filter | Mapping[str, Any]
    strict: bool
    code_levels: int
    deadline_ms: int
    explain: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[Reply]):
    """One request, before it is sent."""

    path: str

    read: Callable[[bytes], Reply]
    """Makes the reply of the body of an answer."""

    method: str = "GET"

    body: bytes | None = None
    """JSON; None sends none."""

    params: Mapping[str, Sequence[str]] = field(default_factory=dict)


def recall(**query: Unpack[RecallQuery]) -> Call[RecallReply]:
    """Find candidates for one query."""
    return _posted("/v1/recall", _encoded(query), RecallReply)


def recall_batch(queries: Sequence[RecallQuery]) -> Call[RecallBatchReply]:
    """Find candidates for up to 100 queries."""
    body = {"queries": [_encoded(query) for query in queries]}
    return _posted("/v1/recall/batch", body, RecallBatchReply)


def recommend(user_id: str | None = None, **query: Unpack[RecommendQuery]) -> Call[RecommendReply]:
    """Recommend items to a user, or for a history."""
    asker = {} if user_id is None else {"user_id": user_id}
    return _posted("/v1/recommend", asker | query, RecommendReply)


def rank(
    item_ids: Sequence[str],
    *,
    user_id: str | None = None,
    history: Sequence[str] | None = None,
    deadline_ms: int | None = None,
    explain: bool = False,
) -> Call[RecommendReply]:
    """Put items in order for a user or a history."""
    asker = {"user_id": user_id, "history": history}
    body = {"item_ids": item_ids, **asker, "deadline_ms": deadline_ms, "explain": explain}
    return _posted("/v1/rank", body, RecommendReply)


def item(item_id: str) -> Call[ItemReply]:
    """Look at one item."""
    return _got(f"/v1/items/{quote(item_id, safe='')}", ItemReply)


def items(item_ids: Sequence[str]) -> Call[list[ItemReply]]:
    """Look at up to 100 items."""
    return Call(
        path="/v1/items",
        params={"item_id": item_ids},
        read=lambda body: ItemsReply.model_validate_json(body).items,
    )


def put_item(item_id: str, fields: Mapping[str, Any]) -> Call[ItemChangeReply]:
    """Put an item in place of what is known of it."""
    return Call(
        method="PUT",
        path=f"/v1/items/{quote(item_id, safe='')}",
        body=to_json(fields),
        read=ItemChangeReply.model_validate_json,
    )


def delete_item(item_id: str) -> Call[ItemChangeReply]:
    """Delete an item."""
    return Call(
        method="DELETE",
        path=f"/v1/items/{quote(item_id, safe='')}",
        read=ItemChangeReply.model_validate_json,
    )


def image(path: str) -> Call[bytes]:
    """Get the image that an item names.

    Raises:
        ValueError: the path is none; another address must not get the API key.
    """
    if not path.startswith(IMAGES):
        raise ValueError(f"path must be an item's image and begin with {IMAGES!r}, got {path!r}")
    return Call(path=path, read=bytes)


def clip(path: str) -> Call[bytes]:
    """Get the small animation that an item names.

    Raises:
        ValueError: the path is none; another address must not get the API key.
    """
    if not path.startswith(CLIPS):
        raise ValueError(f"path must be an item's clip and begin with {CLIPS!r}, got {path!r}")
    return Call(path=path, read=bytes)


def audio(path: str) -> Call[bytes]:
    """Get the start of the sound that an item names.

    Raises:
        ValueError: the path is none; another address must not get the API key.
    """
    if not path.startswith(AUDIO):
        raise ValueError(f"path must be an item's sound and begin with {AUDIO!r}, got {path!r}")
    return Call(path=path, read=bytes)


def user(user_id: str) -> Call[UserReply]:
    """Look at what a user did."""
    return _got(f"/v1/users/{quote(user_id, safe='')}", UserReply)


def catalogue() -> Call[CatalogueReply]:
    """Look at what there is to look for."""
    return _got("/v1/catalogue", CatalogueReply)


def state() -> Call[StateReply]:
    """Look at versions, freshness and drift."""
    return _got("/v1/state", StateReply)


def metrics() -> Call[str]:
    """Get the metrics as Prometheus reads them."""
    return Call(path="/metrics", read=bytes.decode)


def _encoded(query: RecallQuery) -> dict[str, Any]:
    fields: dict[str, Any] = dict(query)
    for name in ("image", "video", "audio"):
        if name in fields:
            fields[f"{name}_base64"] = base64.b64encode(fields.pop(name)).decode()
    return fields


def _posted(path: str, body: Mapping[str, Any], model: type[Model]) -> Call[Model]:
    # What nobody asked for is left out, so that the service's own defaults hold.
    given = {name: value for name, value in body.items() if value is not None}
    return Call(
        method="POST",
        path=path,
        body=to_json(given, exclude_none=True),
        read=model.model_validate_json,
    )


def _got(path: str, model: type[Model]) -> Call[Model]:
    return Call(path=path, read=model.model_validate_json)
