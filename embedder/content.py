"""What goes into an embedder and what comes out, free of torch so that everyone may import it.

Shape legend: D = embedding dimension of the model version.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, overload

import numpy as np

if TYPE_CHECKING:
    import torch

Action = Literal["direct", "reason"]
"""`direct`: the prompt alone is read. `reason`: a rationale is written and read first."""

Policy = Literal["auto", "always", "never"]
"""`auto`: the gate decides. `always`: everything is reasoned about. `never`: nothing is."""

Side = Literal["query", "item"]


@dataclass(frozen=True, slots=True)
class Content:
    """A query or an item, as the embedder reads it: text, images, a clip, a sound, or all of them.

    Models that read one image read `image`, and pass over the rest.
    """

    text: str = ""
    """Untrusted; special tokens inside it are neutralised before tokenising."""

    image: bytes | None = None
    """An encoded image (PNG, JPEG, WebP...), untrusted."""

    key: str = ""
    """Under which the lake knows it (`content_hash` of an item); empty for what it does not."""

    gallery: tuple[bytes, ...] = ()
    """Further images in their order, encoded, untrusted."""

    clip: bytes | None = None
    """A clip (MP4, WebM, GIF), encoded, untrusted."""

    audio: bytes | None = None
    """A sound (WAV, FLAC, Ogg, MP3), encoded, untrusted."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One vector and how it came about."""

    vector: np.ndarray
    """[D] float32, L2-normalised. Any prefix is usable after normalising it again."""

    action: Action
    """What the gate chose, or the policy forced."""

    gate_probability: float
    """The model's probability of `reason` for this input, in [0, 1]."""

    rationale: str = ""
    summary: str = ""
    rationale_tokens: int = 0
    """Tokens generated, 0 for `direct`."""

    fallback: str = ""
    """Why this is a direct embedding although the input was to be reasoned about; else empty."""

    out_of_time: bool = False
    """Whether `fallback` is the deadline's doing."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a content has no encoding."""

    error: Exception
    """Without where it came up and what led to it: tracebacks hold on to tensors."""

    def __post_init__(self) -> None:
        self.error.__traceback__ = self.error.__context__ = self.error.__cause__ = None

    @property
    def reason(self) -> str:
        """The error in one line."""
        return f"{type(self.error).__name__}: {self.error}".splitlines()[0]


Answer = Encoding | Failure
"""What becomes of a content."""


def prefix(vectors_ND: np.ndarray, dim: int) -> np.ndarray:
    """Return [N, dim] the first `dim` numbers of each vector, normalised again (Matryoshka).

    Raises:
        ValueError: the vectors are shorter, or `dim` is not positive.
    """
    if not 1 <= dim <= vectors_ND.shape[1]:
        raise ValueError(f"dim must be in [1, {vectors_ND.shape[1]}], got {dim}")
    cut_ND = vectors_ND[:, :dim]
    return cut_ND / np.linalg.norm(cut_ND, axis=1, keepdims=True)


def nothing_left(content: Content, reader: str, *, reads_clips: bool = False) -> str | None:
    """Return why nothing is left of a content where sounds are not read; None when something is.

    What a model does not read is as good as none beside what it does.

    Args:
        content: a query or an item.
        reader: who reads no sounds; a name to be shown.
        reads_clips: whether clips are read.
    """
    is_clip_left = reads_clips and content.clip is not None
    if content.text or content.image is not None or is_clip_left:
        return None
    if content.clip is None and content.audio is None:
        return None
    unread = "sounds" if content.clip is None else "clips"
    others = "a text, an image or a clip" if reads_clips else "a text or an image"
    return f"{reader} reads no {unread}, and there is one without {others}"


@overload
def reasons(gate_probability: float, *, policy: Policy, theta: float) -> bool: ...
@overload
def reasons(gate_probability: np.ndarray, *, policy: Policy, theta: float) -> np.ndarray: ...
@overload
def reasons(
    gate_probability: "torch.Tensor", *, policy: Policy, theta: float
) -> "torch.Tensor": ...
def reasons(
    gate_probability: "float | np.ndarray | torch.Tensor", *, policy: Policy, theta: float
) -> "bool | np.ndarray | torch.Tensor":
    """Decide who is reasoned about: the one rule, for an input or for each of many.

    Args:
        gate_probability: the model's probability of `reason`, in [0, 1].
        policy: `always` and `never` overrule the gate; `auto` lets it decide.
        theta: `auto` reasons from this probability on, in [0, 1].

    >>> reasons(0.5, policy="auto", theta=0.5), reasons(1.0, policy="never", theta=0.5)
    (True, False)
    """
    least = {"auto": theta, "always": -math.inf, "never": math.inf}[policy]
    return gate_probability >= least


class Encoder(Protocol):
    """A model version that turns queries and items into comparable vectors."""

    @property
    def version(self) -> str:
        """Identity of the model version; vectors of two versions must not be compared."""
        ...

    @property
    def dim(self) -> int:
        """D, the length of every vector."""
        ...

    def encode_query(
        self,
        queries: Sequence[Content],
        *,
        policy: Policy | None = None,
        deadline_s: float | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Encoding]:
        """Return the encodings of queries, in order; `policy` overrules the version's own.

        Those that still reason `deadline_s` seconds from now are answered directly, and their
        `fallback` says so. A rationale has at most `max_new_tokens` tokens where that is less than
        the version's own limit.
        """
        ...

    def encode_items(
        self, items: Sequence[Content], *, policy: Policy | None = None
    ) -> list[Encoding]:
        """Return the encodings of items, in order; `policy` overrules the version's own."""
        ...


class CatalogueEncoder(Encoder, Protocol):
    """An encoder as the pipeline's steps use it, whatever kind of model is behind it."""

    @property
    def name(self) -> str:
        """The human part of `version`."""
        ...

    @property
    def dims(self) -> tuple[int, ...]:
        """Prefixes of its vectors that are worth using, ascending, the last one being `dim`."""
        ...

    @property
    def reasoner(self) -> str:
        """Who writes its rationales, the first part of their key; empty when nobody does."""
        ...

    @property
    def prompt_version(self) -> str:
        """How they are asked for, the second part."""
        ...

    def refusal(self, content: Content) -> str | None:
        """Return why the content cannot be embedded; None when it can."""
        ...

    def encode_items(
        self,
        items: Sequence[Content],
        *,
        policy: Policy | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[Encoding]:
        """Return the encodings of items, in order; tell `progress` how many more are done."""
        ...

    def stream_items(
        self, items: Iterable[Content], *, policy: Policy | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """Yield the number of each item, from 0, with its answer, as soon as it is there."""
        ...

    def stream_queries(
        self, queries: Iterable[Content], *, policy: Policy | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """Yield as `stream_items` does, of queries."""
        ...
