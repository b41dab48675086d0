"""Candidates for a query: by text, image, item, user or history.

One model version answers a request from start to end: it is read from the alias once, and the
encoder, the vectors fetched and the collection searched are all that version's, whatever is
promoted meanwhile (https://github.com/milvus-io/milvus/issues/15378).
"""

import copy
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedder.content import Action, Content, Encoder, Encoding, Policy
from features.profile import ProfileConfig, profile_vector
from recall.client import within
from recall.errors import InvalidQuery, NotFound, Unavailable
from recall.filters import MAX_IDS, Filter
from recall.index import ItemIndex

MAX_TOP_K = 1_000
NO_FILTER = Filter()


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """What recall answers, and how it came about."""

    frame: pl.DataFrame
    """Best first: item_id str; recall_score f32, cosine in [-1, 1]; recall_rank u32 from 1, equal
    scores in order of item_id."""

    version: str
    """Model version of every vector involved."""

    action: Action | None
    """What the gate chose for the query; None when no model had to read it."""

    rationale: str
    """What the model reasoned; empty when it did not."""

    fallback: str
    """Why the query was not reasoned about although it should have been; else empty."""

    took_ms: float


class Recall:
    """Answers queries from the live version of an index; safe to call from several threads."""

    def __init__(
        self,
        index: ItemIndex,
        encoder_of: Callable[[str], Encoder],
        history_of: Callable[[str], list[str]],
        config: ProfileConfig | None = None,
    ) -> None:
        """Answer from `index`.

        Args:
            index: where the item vectors are.
            encoder_of: the encoder of a model version; called for each query with a text or a
                image, so it should remember the one it has loaded. It raises LookupError for a
                version that it does not have.
            history_of: ids of the items that a user acted on, newest first; empty for a stranger.
            config: how a history becomes a vector.
        """
        self.index = index
        self._encoder_of = encoder_of
        self._history_of = history_of
        self._config = config or ProfileConfig()
        self._encoder_lock = threading.Lock()
        self._pinned: str | None = None

    def pinned(self, version: str) -> "Recall":
        """Return recall that answers from a version, live or not; the same in all else."""
        pinned = copy.copy(self)
        pinned._pinned = version
        return pinned

    def live_version(self) -> str:
        """Return the model version that answers.

        Raises:
            Unavailable: none has been promoted yet.
            NotFound: it is a pinned one, and has no collection.
        """
        with self.in_time():
            if self._pinned is not None:
                return self._held(self._pinned)
            version = self.index.live_version()
        if version is None:
            raise Unavailable("no model version is live; promote one first")
        return version

    def _held(self, version: str) -> str:
        held = self.index.versions()
        if version not in held:
            raise NotFound(f"version {version!r} is not in the index, which holds {held}")
        return version

    def in_time(self) -> AbstractContextManager[None]:
        """Let all that a block asks of Milvus end within the search timeout, together."""
        return within(self.index.config.search_timeout_s)

    def count(self) -> tuple[str, int]:
        """Return the model version that answers, and its number of items.

        Raises:
            Unavailable: none has been promoted yet.
        """
        with self.in_time():
            version = self.live_version()
            return version, self.index.count(version)

    def by_content(
        self,
        content: Content,
        *,
        top_k: int = 100,
        filter: Filter = NO_FILTER,
        policy: Policy = "auto",
        deadline_s: float | None = None,
    ) -> Candidates:
        """Find items that match a text, an image, or both together.

        Args:
            content: the query, untrusted; not empty.
            top_k: number of candidates, in [1, 1000]. Fewer come only when fewer items match.
            filter: what an item must meet.
            policy: `auto` lets the gate choose whether to reason, `always` and `never` force it.
            deadline_s: reasoning that is not done by then gives way to the direct vector, and the
                answer's `fallback` says so; None waits for it.

        Raises:
            InvalidQuery: the content is empty or unreadable, or `top_k` is out of range.
            Unavailable: no version is live, or its encoder cannot be had.
        """
        started = time.perf_counter()
        if not content.text.strip() and content.image is None:
            raise InvalidQuery("a query must have a text or an image, got neither")
        version = self.live_version()
        encoding = self.encode(content, version, policy=policy, deadline_s=deadline_s)
        return self._search(
            encoding.vector, version, top_k=top_k, filter=filter, started=started, encoding=encoding
        )

    def by_item(self, item_id: str, *, top_k: int = 100, filter: Filter = NO_FILTER) -> Candidates:
        """Find items like an item, which is itself left out.

        Raises:
            NotFound: the live version does not hold the item.
            InvalidQuery: `top_k` is out of range.
            Unavailable: no version is live.
        """
        started = time.perf_counter()
        filter = filter.excluding([item_id])
        with self.in_time():
            version = self.live_version()
            vectors = self.index.vectors([item_id], version)
            if item_id not in vectors:
                raise NotFound(f"item {item_id!r} is not in version {version!r}")
            return self._search(
                vectors[item_id], version, top_k=top_k, filter=filter, started=started
            )

    def by_user(
        self,
        user_id: str,
        *,
        top_k: int = 100,
        filter: Filter = NO_FILTER,
        exclude_seen: bool = True,
    ) -> Candidates:
        """Find items that fit what a user did; see `by_history`.

        Raises:
            NotFound: the user has no history, or none of it is in the live version.
            InvalidQuery: `top_k` is out of range.
            Unavailable: no version is live.
        """
        history = self._history_of(user_id)
        if not history:
            raise NotFound(f"user {user_id!r} has no history; ask by text or by item")
        return self.by_history(history, top_k=top_k, filter=filter, exclude_seen=exclude_seen)

    def by_history(
        self,
        history: Sequence[str],
        *,
        top_k: int = 100,
        filter: Filter = NO_FILTER,
        exclude_seen: bool = True,
    ) -> Candidates:
        """Find items near the recency-weighted mean of a history.

        Args:
            history: item ids, newest first. Items that the live version does not hold are passed
                over: the newest that it holds make the profile, however many are gone.
            top_k: number of candidates, in [1, 1000].
            filter: what an item must meet.
            exclude_seen: leave out what shaped the profile and the newest of the history, 10,000
                items together.

        Raises:
            NotFound: the live version holds none of the items.
            InvalidQuery: `top_k` is out of range.
            Unavailable: no version is live.
        """
        started = time.perf_counter()
        with self.in_time():
            version = self.live_version()
            known, vectors = self._newest_known(history, version)
            if not known:
                raise NotFound(
                    f"none of the history's {len(history)} items is in version {version!r}"
                )
            profile = profile_vector(np.stack(vectors), half_life=self._config.half_life)
            if exclude_seen:
                filter = filter.excluding(list(dict.fromkeys([*known, *history]))[:MAX_IDS])
            return self._search(profile, version, top_k=top_k, filter=filter, started=started)

    def _newest_known(
        self, history: Sequence[str], version: str
    ) -> tuple[list[str], list[np.ndarray]]:
        """Return the newest items that the version holds, `max_history` of them, and vectors."""
        wanted, known, vectors = self._config.max_history, list[str](), list[np.ndarray]()
        begin, width = 0, wanted  # twice as many each time: most histories end with the first
        while begin < len(history) and len(known) < wanted:
            part = history[begin : begin + width]
            held = self.index.vectors(list(dict.fromkeys(part)), version)
            here = [item_id for item_id in part if item_id in held][: wanted - len(known)]
            known += here
            vectors += [held[item_id] for item_id in here]
            begin, width = begin + width, min(2 * width, MAX_IDS)
        return known, vectors

    def encode(
        self,
        content: Content,
        version: str,
        *,
        policy: Policy = "auto",
        deadline_s: float | None = None,
        max_new_tokens: int | None = None,
    ) -> Encoding:
        """Return the encoding of a query by a version's encoder; see `embedder.content.Encoder`.

        Raises:
            InvalidQuery: the content is unreadable.
            Unavailable: the version's encoder cannot be had.
        """
        try:
            # One at a time: a model shares its cache and its cores between calls.
            with self._encoder_lock:
                encoder = self._encoder_of(version)
                return encoder.encode_query(
                    [content],
                    policy=policy,
                    deadline_s=deadline_s,
                    max_new_tokens=max_new_tokens,
                )[0]
        except LookupError as error:
            raise Unavailable(f"no encoder for version {version!r}: {error}") from error
        except ValueError as error:
            raise InvalidQuery(f"the query cannot be read: {error}") from error

    def _search(
        self,
        vector_D: np.ndarray,
        version: str,
        *,
        top_k: int,
        filter: Filter,
        started: float,
        encoding: Encoding | None = None,
    ) -> Candidates:
        if not 1 <= top_k <= MAX_TOP_K:
            raise InvalidQuery(f"top_k must be in [1, {MAX_TOP_K}], got {top_k}")
        with self.in_time():
            ranked = self.index.search(
                vector_D[None], version, limit=top_k, expression=filter.expression()
            )
        return Candidates(
            frame=ranked.drop("query_index"),
            version=version,
            action=encoding.action if encoding else None,
            rationale=encoding.rationale if encoding else "",
            fallback=encoding.fallback if encoding else "",
            took_ms=1000 * (time.perf_counter() - started),
        )
