"""What the service is asked, checked at the door."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from embedder.content import Content, Policy
from recall.filters import Filter
from recall.search import MAX_TOP_K
from serving.images import MAX_BASE64_CHARS, decode_image

MAX_TEXT_CHARS = 8_000
MAX_HISTORY = 10_000
MAX_DEADLINE_MS = 60_000

Kind = Literal["content", "item", "user", "history"]
ItemId = Annotated[str, Field(min_length=1, max_length=256)]


class RecallRequest(BaseModel):
    """One query: a text, an image or both; or an item; or a user; or a history."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    text: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT_CHARS)
    """What to look for, in words."""

    image_base64: str | None = Field(default=None, min_length=1, max_length=MAX_BASE64_CHARS)
    """An image file (PNG, JPEG, WebP...), at most 8 MiB and 40 megapixels."""

    item_id: ItemId | None = None
    """Items like this one."""

    user_id: ItemId | None = None
    """Items for this user, by what they liked."""

    history: list[ItemId] | None = Field(default=None, min_length=1, max_length=MAX_HISTORY)
    """Item ids, newest first."""

    top_k: int = Field(default=100, ge=1, le=MAX_TOP_K)
    """Candidates wanted; fewer come only when fewer items match."""

    filter: Filter = Filter()
    """What a candidate must meet."""

    policy: Policy = "auto"
    """Whether a text or image may be reasoned about: the gate's choice, always or never."""

    deadline_ms: int | None = Field(default=None, ge=1, le=MAX_DEADLINE_MS)
    """Reasoning that takes longer gives way to the direct embedding, and the reply's `fallback`
    says so; null waits for it."""

    exclude_seen: bool = True
    """Leave the history's own items out; for a user or a history."""

    version: str | None = Field(default=None, min_length=1, max_length=256)
    """Answer from this model version, to compare it; null: from the live one. A text or an image
    takes a version whose model is registered, and the time to load it."""

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
        """Return the text and image as the encoder reads them.

        Raises:
            InvalidQuery: the image is not one, or is too large.
        """
        image = None if self.image_base64 is None else decode_image(self.image_base64)
        return Content(text=self.text or "", image=image)


class RecommendRequest(BaseModel):
    """Whom to recommend to."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    user_id: ItemId
    """Somebody with a history."""

    top_k: int = Field(default=20, ge=1, le=MAX_TOP_K)
    """Items wanted; fewer come only when fewer match."""

    filter: Filter = Filter()
    """What an item must meet."""
