"""What the service is asked, checked at the door.

An option that says nothing about the query it comes with is refused: whoever sends it expects
something of it.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.lake.tables import MAX_CODE_LEVELS
from embedder.content import Policy
from recall.candidates import MAX_INTERESTS, MAX_TOP_K, NO_FILTER, RecallOptions, Seen
from recall.filters import Filter
from serving import audio, clips
from serving.images import MAX_BASE64_CHARS
from serving.rank import Asker

MAX_TEXT_CHARS = 8_000
MAX_HISTORY = 10_000
MAX_DEADLINE_MS = 60_000
MAX_NEW_TOKENS = 4_096
MAX_URL_CHARS = 2_000
MAX_RANK_HISTORY = 1_000
DEFAULT_INTERESTS = 3

Kind = Literal["content", "item", "user", "history"]
ItemId = Annotated[str, Field(min_length=1, max_length=256)]

APPLIES_TO: dict[str, tuple[Kind, ...]] = {
    "reasoning": ("content",),
    "max_new_tokens": ("content",),
    "hybrid": ("content",),
    "exclude_seen": ("user", "history"),
    "interests": ("user", "history"),
    "code_levels": ("item", "user", "history"),
    "strict": ("user", "history"),
}
"""Options that say something about some kinds of query only."""

CONTENT_FIELDS = ("text", "image_base64", "image_url", "video_base64", "audio_base64")

NAMES: dict[Kind, str] = {
    "content": "a text, an image, a clip or a sound",
    "item": "item_id",
    "user": "user_id",
    "history": "history",
}


class RecallRequest(BaseModel):
    """One query: a text, an image, a clip, a sound or several; an item; a user; or a history."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    text: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT_CHARS)
    """What to look for, in words."""

    image_base64: str | None = Field(default=None, min_length=1, max_length=MAX_BASE64_CHARS)
    """An image file (PNG, JPEG, WebP, GIF, BMP), at most 8 MiB and 40 megapixels."""

    image_url: str | None = Field(default=None, min_length=1, max_length=MAX_URL_CHARS)
    """Where such a file is, `http:` or `https:`, fetched within 5 s by the rules that images of
    items are fetched by: nothing but the public internet unless `media_allow` says so."""

    video_base64: str | None = Field(default=None, min_length=1, max_length=clips.MAX_BASE64_CHARS)
    """A clip (MP4, WebM, GIF), at most 16 MiB, 120 s and 9 megapixels a frame."""

    audio_base64: str | None = Field(default=None, min_length=1, max_length=audio.MAX_BASE64_CHARS)
    """A sound (WAV, FLAC, Ogg, MP3), at most 8 MiB, 120 s, 6 channels and 96,000 samples a
    second, for a version that has an audio encoder."""

    item_id: ItemId | None = None
    """Items like this one."""

    user_id: ItemId | None = None
    """Items for this user, by what they liked."""

    history: list[ItemId] | None = Field(default=None, max_length=MAX_HISTORY)
    """Items for whoever liked these, newest first."""

    top_k: int = Field(default=100, ge=1, le=MAX_TOP_K)
    """Candidates wanted; fewer come only when fewer items match."""

    filter: Filter = Field(default_factory=lambda: NO_FILTER)
    """What a candidate must meet."""

    exclude_seen: Seen = "acted"
    """Items of the user that are left out: `none`, those they `liked`, those they `acted` upon in
    any way, or those that were `shown` as well. The items of a `history` all count as liked."""

    interests: int = Field(default=DEFAULT_INTERESTS, ge=1, le=MAX_INTERESTS)
    """A history is searched by so many of its interests, each by the item that stands for it, and
    they take turns by their weight; 1 searches once, by its recency-weighted mean."""

    code_levels: int | None = Field(default=None, ge=1, le=MAX_CODE_LEVELS)
    """Look only among items whose first so many codes are those of the item, or of an item of the
    history: a history is then searched by as many of its prefixes as there are `interests`, each by
    its newest item, and `channels` says `codes`. null looks among all. See `code_prefixes` of the
    filter, and docs/codes.md."""

    strict: bool = False
    """Answer 404 for a user without a usable history, instead of popular and fresh items."""

    mmr_lambda: float | None = Field(default=None, ge=0, le=1)
    """Spread the candidates out by maximal marginal relevance: 1 looks at relevance alone, 0 at
    diversity alone; null does neither."""

    max_similarity: float | None = Field(default=None, gt=0, le=1)
    """Leave out a candidate whose cosine with a better one is at least this, or that shows the same
    image; null leaves none out."""

    hybrid: bool = False
    """Fuse what the text finds by its meaning with what it finds by its words (BM25), by reciprocal
    ranks; `score` stays the cosine."""

    reasoning: Policy = "auto"
    """Whether a text, image, clip or sound may be reasoned about: the gate's choice, always or
    never."""

    max_new_tokens: int | None = Field(default=None, ge=1, le=MAX_NEW_TOKENS)
    """Tokens of the rationale; null, or more than the version allows: as many as it allows."""

    deadline_ms: int | None = Field(default=None, ge=1, le=MAX_DEADLINE_MS)
    """Reasoning that takes longer gives way to the direct embedding, and the reply says so; the
    index that takes longer for another kind of query is given up. null waits."""

    explain: bool = False
    """Say how it came about: the gate's probability, the rationale, and how each candidate was
    found."""

    details: bool = False
    """Say what each candidate is: its title, category, image, clip and sound."""

    version: str | None = Field(default=None, min_length=1, max_length=256)
    """Answer from this model version, to compare it; null: from the live one. A text or an image
    takes a version whose model is registered, and the time to load it."""

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if len(self._kinds()) != 1 or (self.image_base64 and self.image_url):
            got = [name for name in self._asking() if getattr(self, name) is not None]
            raise ValueError(
                "a query must have exactly one of text and/or image_base64 or image_url and/or "
                "video_base64 and/or audio_base64, item_id, user_id, history; got "
                f"{', '.join(got) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _options_apply(self) -> Self:
        kind = self.kind
        for name, kinds in APPLIES_TO.items():
            if name in self.model_fields_set and kind not in kinds:
                goes_with = " or ".join(NAMES[each] for each in kinds)
                raise ValueError(
                    f"{name} goes with {goes_with}, got it with {NAMES[kind]}; leave it out"
                )
        if self.hybrid and self.text is None:
            raise ValueError("hybrid looks for the words of a text, got none; leave it out")
        if self.max_new_tokens is not None and self.reasoning == "never":
            raise ValueError(
                "max_new_tokens bounds a rationale, got it with reasoning 'never', which writes "
                "none; leave it out"
            )
        return self

    @property
    def kind(self) -> Kind:
        """What the query is about."""
        return self._kinds()[0]

    @property
    def is_words(self) -> bool:
        """Whether it is a text without anything else, for the live version."""
        shown = (self.image_base64, self.image_url, self.video_base64, self.audio_base64)
        return self.text is not None and not any(shown) and self.version is None

    def options(self) -> RecallOptions:
        """Return how recall is to answer."""
        is_history = self.kind in ("user", "history")
        return RecallOptions(
            top_k=self.top_k,
            filter=self.filter,
            version=self.version,
            exclude_seen=self.exclude_seen,
            max_interests=self.interests if is_history else 1,
            code_levels=self.code_levels,
            strict=self.strict,
            mmr_lambda=self.mmr_lambda,
            max_similarity=self.max_similarity,
            hybrid=self.hybrid,
            policy=self.reasoning,
            max_new_tokens=self.max_new_tokens,
            deadline_s=None if self.deadline_ms is None else self.deadline_ms / 1000,
        )

    def _kinds(self) -> list[Kind]:
        given: dict[Kind, bool] = {
            "content": any(getattr(self, name) is not None for name in CONTENT_FIELDS),
            "item": self.item_id is not None,
            "user": self.user_id is not None,
            "history": self.history is not None,
        }
        return [kind for kind, is_given in given.items() if is_given]

    def _asking(self) -> tuple[str, ...]:
        return (*CONTENT_FIELDS, "item_id", "user_id", "history")


class AskerRequest(BaseModel):
    """For whom something is ranked: a user or a history."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    user_id: ItemId | None = None
    """A user."""

    history: list[ItemId] | None = Field(default=None, min_length=1, max_length=MAX_RANK_HISTORY)
    """Ids of liked items, newest first, of somebody whom the service does not know."""

    explain: bool = False
    """Say which features moved each score most, and by how much."""

    deadline_ms: int | None = Field(default=None, ge=1, le=MAX_DEADLINE_MS)
    """Give up when there is no answer after so many milliseconds; null waits."""

    @model_validator(mode="after")
    def _asks_for_one(self) -> Self:
        if (self.user_id is None) == (self.history is None):
            got = "none" if self.user_id is None else "both"
            raise ValueError(f"a request must have exactly one of user_id, history; got {got}")
        return self

    @property
    def asker(self) -> Asker:
        """Whom it is for."""
        if self.user_id is not None:
            return Asker(user_id=self.user_id)
        return Asker(history=tuple(dict.fromkeys(self.history or ())))


class RankRequest(AskerRequest):
    """What to put in order, and for whom."""

    item_ids: list[ItemId] = Field(min_length=1, max_length=MAX_TOP_K)
    """The candidates, each once; their order says nothing."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.item_ids)) < len(self.item_ids):
            twice = next(i for i in self.item_ids if self.item_ids.count(i) > 1)
            raise ValueError(f"item_ids must hold each item once, got {twice!r} again")
        return self


class RecommendRequest(AskerRequest):
    """Whom to recommend to."""

    top_k: int = Field(default=20, ge=1, le=MAX_TOP_K)
    """Items wanted; fewer come only when fewer match."""

    filter: Filter = Field(default_factory=lambda: NO_FILTER)
    """What an item must meet."""

    strict: bool = False
    """Answer 404 for somebody without a usable history, and not with popular and fresh items."""

    code_levels: int | None = Field(default=None, ge=1, le=MAX_CODE_LEVELS)
    """Choose also among items whose first so many codes are those of an item of the history, beside
    what the other channels find; null leaves that channel out."""
