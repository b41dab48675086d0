"""What the recall service reads and writes: requests, checked at the door, and replies."""

import base64
import binascii
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.images.check import ImageError, opened_image
from embedder.content import Action, Content, Policy
from recall.errors import InvalidQuery
from recall.filters import Filter
from recall.search import MAX_TOP_K, Candidates

MAX_TEXT_CHARS = 8_000
MAX_IMAGE_BYTES = 8 * 2**20
MAX_IMAGE_PIXELS = 40_000_000
MAX_BASE64_CHARS = MAX_IMAGE_BYTES * 4 // 3 + 4
MAX_HISTORY = 10_000
MAX_DEADLINE_MS = 60_000

Kind = Literal["content", "item", "user", "history"]
ItemId = Annotated[str, Field(min_length=1, max_length=256)]


class RecallRequest(BaseModel):
    """One query: a text, an image or both; or an item; or a user; or a history."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT_CHARS)
    image_base64: str | None = Field(default=None, min_length=1, max_length=MAX_BASE64_CHARS)
    """An image file (PNG, JPEG, WebP...), at most 8 MiB and 40 megapixels."""

    item_id: ItemId | None = None
    user_id: ItemId | None = None
    history: list[ItemId] | None = Field(default=None, min_length=1, max_length=MAX_HISTORY)
    """Item ids, newest first."""

    top_k: int = Field(default=100, ge=1, le=MAX_TOP_K)
    filter: Filter = Filter()
    policy: Policy = "auto"
    """Whether a text or image may be reasoned about: the gate's choice, always or never."""

    deadline_ms: int | None = Field(default=None, ge=1, le=MAX_DEADLINE_MS)
    """Reasoning that takes longer gives way to the direct embedding, and the reply's `fallback`
    says so; null waits for it."""

    exclude_seen: bool = True
    """Leave the history's own items out; for a user or a history."""

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if len(self._kinds()) != 1:
            raise ValueError(
                "a query must have exactly one of text and/or image_base64, item_id, user_id, "
                f"history; got {self._kinds() or 'none'}"
            )
        return self

    @property
    def kind(self) -> Kind:
        """What the query is about."""
        return self._kinds()[0]

    def _kinds(self) -> list[Kind]:
        given: dict[Kind, bool] = {
            "content": self.text is not None or self.image_base64 is not None,
            "item": self.item_id is not None,
            "user": self.user_id is not None,
            "history": self.history is not None,
        }
        return [kind for kind, is_given in given.items() if is_given]

    def content(self) -> Content:
        """The text and image as the encoder reads them.

        Raises:
            InvalidQuery: the image is not one, or is too large.
        """
        image = None if self.image_base64 is None else decode_image(self.image_base64)
        return Content(text=self.text or "", image=image)


def decode_image(image_base64: str) -> bytes:
    """The image's file, with its format and size checked before anything decodes its pixels.

    Raises:
        InvalidQuery: not base64, not an image that could also be landed, or larger than the limits.
    """
    try:
        data = base64.b64decode(image_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery(f"image_base64 must be base64: {error}") from error
    try:
        with opened_image(data, max_bytes=MAX_IMAGE_BYTES, max_pixels=MAX_IMAGE_PIXELS):
            return data
    except ImageError as error:
        raise InvalidQuery(f"image_base64: {error}") from error


class Candidate(BaseModel):
    """One item found."""

    item_id: str
    score: float
    """Cosine, in [-1, 1]."""

    rank: int
    """1 = best."""


class RecallReply(BaseModel):
    """The items found, best first, and how."""

    version: str
    """Model version that answered; scores of two versions must not be compared."""

    candidates: list[Candidate]
    action: Action | None
    """What the gate chose; null when no model had to read the query."""

    rationale: str
    fallback: str
    """Why there was no reasoning although there should have been; else empty."""

    took_ms: float

    @classmethod
    def of(cls, candidates: Candidates) -> Self:
        """The reply that carries these candidates."""
        rows = candidates.frame.select("item_id", "recall_score", "recall_rank").iter_rows()
        return cls(
            version=candidates.version,
            candidates=[Candidate(item_id=i, score=s, rank=r) for i, s, r in rows],
            action=candidates.action,
            rationale=candidates.rationale,
            fallback=candidates.fallback,
            took_ms=candidates.took_ms,
        )
