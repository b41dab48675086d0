"""Candidates for a query: by text, image, item, user or history.

One model version answers a request from start to end: it is read from the alias once, and the
encoder, the vectors fetched and the collection searched are all that version's, whatever is
promoted meanwhile (https://github.com/milvus-io/milvus/issues/15378).
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from embedder.content import Content, Encoder
from features.history_store import Histories, UserHistory
from features.neighbours import NeighboursNow
from features.profile import ProfileConfig, profile_vector
from recall.candidates import Candidates, FoundInterest, RecallOptions, Seen
from recall.catalogue_store import CatalogueStore
from recall.errors import Busy, InvalidQuery, NotFound, Unavailable
from recall.filters import MAX_IDS
from recall.interests import interests
from recall.living_items import LivingItems
from recall.popular import Known, first_known, popular_and_fresh
from recall.query_encoder import Encoded, QueryEncoder, QueryEncoderConfig
from recall.retrieval import Found, ImageHashes, Retrieval, Seed, candidate_frame
from recall.stages import Stages
from recall.vector_search import VectorSearch

DEFAULTS = RecallOptions()
FALLBACK_ITEMS = 2_000
PROBE = "a"
PROBE_TIMEOUT_S = 1.0
MIN_SEARCH_SHARE, MAX_SEARCH_SHARE = 0.1, 0.5
"""Of a deadline, kept for what follows the reading: twice what that takes now, within these."""

SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class SubmittedQuery:
    """A text or image that waits for its encoding."""

    text: str

    version: str
    """Model version that answers it, from start to end."""

    answer: "Future[Encoded]"


class Recall:
    """Answers queries from the live version of an index; safe to call from several threads."""

    def __init__(
        self,
        index: VectorSearch,
        encoder_of: Callable[[str], Encoder],
        histories: Histories,
        config: ProfileConfig | None = None,
        *,
        catalogue: CatalogueStore | None = None,
        image_hashes_of: ImageHashes | None = None,
        neighbours: Callable[[], NeighboursNow] | None = None,
        living: LivingItems | None = None,
        queue: QueryEncoderConfig | None = None,
    ) -> None:
        """Answer from `index`.

        Args:
            index: where the item vectors are.
            encoder_of: the encoder of a model version, loaded; LookupError for one that it does
                not have.
            histories: what users did, and what is popular.
            config: how a history becomes a vector.
            catalogue: words, newest items and attributes; None: there is no hybrid search, nothing
                is fresh, and attributes get no hints.
            image_hashes_of: see `recall.retrieval.Retrieval`.
            neighbours: what is liked together; None: nothing is found that way.
            living: tells what is in the catalogue; None: only the index does, so that what has no
                vector is not found.
            queue: how many texts and images may wait to be read.
        """
        self.index = index
        self.encoder = QueryEncoder(encoder_of, queue)
        self._histories = histories
        self._config = config or ProfileConfig()
        self._catalogue, self._neighbours, self._living = catalogue, neighbours, living
        self._retrieval = Retrieval(index, catalogue=catalogue, image_hashes_of=image_hashes_of)
        self._search_s = 0.0  # from an encoding to its candidates, the wait for a thread included
        self.followed: str | None = None
        self._followed_at = -math.inf
        self._probed: tuple[str, np.ndarray] | None = None

    def live_version(self) -> str:
        """Return the model version that answers.

        Raises:
            Unavailable: none has been promoted yet.
        """
        version = self.followed
        if version is None:
            with self.in_time():
                version = self.index.live_version()
        if version is None:
            raise Unavailable("no model version is live; promote one first")
        return version

    def follow(self) -> bool:
        """Answer from the version that is live now, once its encoder is loaded.

        Called again and again it makes a service follow promotions and rollbacks. Without it every
        query asks the index. A version whose encoder cannot be had takes over only from one that is
        no longer there. Returns whether another version answers from now on.

        Raises:
            Unavailable: that encoder cannot be had.
        """
        with self.in_time():
            live = self.index.live_version()
        if live is None:
            return False
        try:
            self.encoder.load(live)
        except Unavailable:
            if self.followed is not None and self.followed in self.index.versions():
                raise
        has_changed, self.followed = live != self.followed, live
        self._followed_at = time.monotonic()
        return has_changed

    def follow_age_s(self) -> float:
        """Return the seconds since `follow` last succeeded; infinite when it never did."""
        return time.monotonic() - self._followed_at

    def _version(self, options: RecallOptions) -> str:
        if (version := options.version) is None:
            return self.live_version()
        if version == self.followed:
            return version
        if version not in (versions := self.index.versions()):
            raise NotFound(f"version {version!r} is not in the index, which holds {versions}")
        return version

    def in_time(self) -> AbstractContextManager[None]:
        """Let all that a block asks of the index end in time, and see one state of it."""
        return self.index.request()

    def count(self) -> tuple[str, int]:
        """Return the model version that answers, and its number of items.

        Raises:
            Unavailable: none has been promoted yet.
        """
        with self.in_time():
            version = self.live_version()
            return version, self.index.count(version)

    def probe(self) -> tuple[str, int]:
        """Make a search for no matter what; return the version that answers and its items.

        Raises:
            Unavailable: none has been promoted yet.
        """
        with self.in_time():
            version = self.live_version()
            num_items = self.index.count(version)
            if num_items and (vector_D := self._probe_vector(version)) is not None:
                self.index.search(vector_D[None], version, limit=1)
            return version, num_items

    def _probe_vector(self, version: str) -> np.ndarray | None:
        """Return the vector of a word, encoded once for a version; None when there is none now."""
        if self._probed is None or self._probed[0] != version:
            try:
                answer = self.encoder.submit(Content(PROBE), version, policy="never")
                self._probed = version, answer.result(PROBE_TIMEOUT_S).encoding.vector
            except (Busy, InvalidQuery, TimeoutError, Unavailable):
                return None  # items and users can still be answered
        return self._probed[1]

    def by_content(
        self,
        content: Content,
        options: RecallOptions = DEFAULTS,
        stages: Stages | None = None,
    ) -> Candidates:
        """Find items that match a text, an image, or both together.

        Args:
            content: the query, untrusted; not empty.
            options: how it is answered.
            stages: a stopwatch that runs since the query came; None: it came now.

        Raises:
            InvalidQuery: the content is empty or unreadable.
            Unavailable: no version is live, or its encoder cannot be had; or hybrid search is
                wanted, and the words have not been read yet.
        """
        stages = stages or Stages()
        query = self.submit(content, options, stages)
        return self.by_encoding(query, query.answer.result(), options, stages)

    def submit(self, content: Content, options: RecallOptions, stages: Stages) -> SubmittedQuery:
        """Put a text or an image into the queue for its encoder; `by_encoding` goes on from there.

        Raises:
            Busy: too much waits, or so much that the deadline would pass.
            InvalidQuery, Unavailable: as `by_content` says.
        """
        if not content.text.strip() and content.image is None:
            raise InvalidQuery("a query must have a text or an image, got neither")
        with stages.time("version"), self.in_time():
            version = self._version(options)
        deadline = None
        if options.deadline_s is not None:
            deadline = stages.started_at + self._reading_s(options.deadline_s)
        answer = self.encoder.submit(
            content,
            version,
            policy=options.policy,
            deadline=deadline,
            max_new_tokens=options.max_new_tokens,
        )
        return SubmittedQuery(content.text, version, answer)

    def by_encoding(
        self, query: SubmittedQuery, encoded: Encoded, options: RecallOptions, stages: Stages
    ) -> Candidates:
        """Find items for a text or an image that was put into the queue, and is encoded now."""
        stages.add("prepare", encoded.prepared_ms)
        stages.add("queue", encoded.waited_ms)
        stages.add("encode", encoded.took_ms)
        encoding = encoded.encoding
        found = self._found(
            [Seed(encoding.vector, "content")],
            query.version,
            options,
            stages,
            text=query.text,
            action=encoding.action,
            gate_probability=encoding.gate_probability,
            rationale=encoding.rationale,
            direct_because=encoding.fallback,
            is_cut_short=encoding.out_of_time,
        )
        after_s = time.monotonic() - encoded.ended_at
        self._search_s += SMOOTHING * (after_s - self._search_s)
        return found

    def _reading_s(self, deadline_s: float) -> float:
        """Return the seconds of a deadline that a text or an image may be read for."""
        kept_s = np.clip(
            2 * self._search_s, MIN_SEARCH_SHARE * deadline_s, MAX_SEARCH_SHARE * deadline_s
        )
        return deadline_s - float(kept_s)

    def by_item(
        self, item_id: str, options: RecallOptions = DEFAULTS, stages: Stages | None = None
    ) -> Candidates:
        """Find items like an item, which is itself left out.

        Raises:
            NotFound: the live version does not hold the item.
            Unavailable: no version is live.
        """
        stages = stages or Stages()
        with self.in_time():
            with stages.time("version"):
                version = self._version(options)
            with stages.time("vectors"):
                vectors = self.index.vectors([item_id], version)
            if item_id not in vectors:
                raise NotFound(f"item {item_id!r} is not in version {version!r}")
            seeds = [Seed(vectors[item_id], "item")]
            return self._found(seeds, version, options, stages, excluded=[item_id])

    def by_user(
        self, user_id: str, options: RecallOptions = DEFAULTS, stages: Stages | None = None
    ) -> Candidates:
        """Find items that fit what a user liked; see `by_history`.

        Raises:
            NotFound: with `strict`, the user liked nothing, or nothing that the live version holds.
            Unavailable: no version is live.
        """
        stages = stages or Stages()
        with stages.time("history"):
            history = self._histories.of(user_id)
        return self._by_history(history, options, stages, whose=f"user {user_id!r}")

    def by_history(
        self,
        item_ids: Sequence[str],
        options: RecallOptions = DEFAULTS,
        stages: Stages | None = None,
    ) -> Candidates:
        """Find items near a history: near its recency-weighted mean, or near its interests.

        Args:
            item_ids: newest first. Items that the live version does not hold are passed over: the
                newest that it holds make the profile, however many are gone.
            options: how it is answered. `exclude_seen` leaves out what shaped the profile and the
                newest of the history, 10,000 items together, unless it is `none`.
            stages: a stopwatch that runs since the query came; None: it came now.

        Raises:
            NotFound: with `strict`, the live version holds none of the items.
            Unavailable: no version is live.
        """
        history = UserHistory(liked=list(item_ids), acted=[], shown=[])
        return self._by_history(history, options, stages or Stages(), whose="the history")

    def liked_by(self, user_id: str) -> list[str]:
        """Return what a user liked, newest first; empty for a stranger."""
        return self._histories.of(user_id).liked

    def liked_together(
        self,
        history: Sequence[str],
        options: RecallOptions = DEFAULTS,
        stages: Stages | None = None,
        *,
        explain: bool = False,
    ) -> pl.DataFrame:
        """Return items that were liked together with a history, none of it among them.

        No vector is compared. They are in the columns of `recall.candidates.CANDIDATES`, best
        first, without scores.

        Args:
            history: liked items, newest first.
            options: of them `top_k`, `filter`, `needs_vector` and `version`.
            stages: a stopwatch that is told how long it took.
            explain: tell as `interest` which item of the history each was liked together with most.
        """
        if self._neighbours is None or not history:
            return candidate_frame([])
        with (stages or Stages()).time("collaborative"), self.in_time():
            neighbours, liked = self._neighbours(), set(history)
            nearest = [item_id for item_id in neighbours.nearest(history) if item_id not in liked]
            taken = first_known(nearest, self._known(options), limit=options.top_k)
            because = neighbours.because(history, taken) if explain else [None] * len(taken)
        found = [
            Found(item_id, 0.0, ("collaborative",), reason)
            for item_id, reason in zip(taken, because, strict=True)
        ]
        return candidate_frame(found, has_scores=False)

    def popular(
        self,
        options: RecallOptions = DEFAULTS,
        *,
        left_out: Sequence[str] = (),
        stages: Stages | None = None,
    ) -> pl.DataFrame:
        """Return popular and fresh items, in the columns of `recall.candidates.CANDIDATES`.

        Args:
            options: of them `top_k`, `filter`, `needs_vector` and `version`.
            left_out: items that are not wanted.
            stages: a stopwatch that is told how long it took.
        """
        with (stages or Stages()).time("popular"), self.in_time():
            popular = self._histories.popular(FALLBACK_ITEMS)["item_id"].to_list()
            fresh = [] if self._catalogue is None else self._catalogue.newest(FALLBACK_ITEMS)
            unwanted = set(left_out)
            found = popular_and_fresh(
                [item_id for item_id in popular if item_id not in unwanted],
                [item_id for item_id in fresh if item_id not in unwanted],
                self._known(options),
                limit=options.top_k,
            )
        return candidate_frame(found, has_scores=False)

    def _known(self, options: RecallOptions) -> Known:
        """Return what tells which items may be returned that no search has found."""
        if self._living is not None and not options.needs_vector:
            return partial(self._living.that_meet, options.filter)
        version = self._version(options)
        return lambda ids: self._retrieval.vectors(ids, version, filter=options.filter).keys()

    def _by_history(
        self, history: UserHistory, options: RecallOptions, stages: Stages, *, whose: str
    ) -> Candidates:
        with self.in_time():
            with stages.time("version"):
                version = self._version(options)
            with stages.time("vectors"):
                known, vectors = self._newest_known(history.liked, version)
            seen = _seen(history, options.exclude_seen, known)
            if not known:
                reason = f"{whose} has no history of likes"
                if history.liked:
                    reason = (
                        f"none of the {len(history.liked)} items of {whose} is in version "
                        f"{version!r}"
                    )
                return self._popular(reason, version, options, stages, seen)
            with stages.time("interests"):
                seeds, found = self._seeds(known, np.stack(vectors), options)
            return self._found(
                seeds, version, options, stages, excluded=seen, interests=tuple(found)
            )

    def _seeds(
        self, known: Sequence[str], vectors_HD: np.ndarray, options: RecallOptions
    ) -> tuple[list[Seed], list[FoundInterest]]:
        half_life = self._config.half_life
        if options.max_interests == 1:
            return [Seed(profile_vector(vectors_HD, half_life=half_life), "profile")], []
        found = interests(vectors_HD, half_life=half_life, max_interests=options.max_interests)
        seeds = [Seed(vectors_HD[i.row], "interest", i.weight, known[i.row]) for i in found]
        return seeds, [FoundInterest(known[i.row], i.weight, i.size) for i in found]

    def _popular(
        self,
        reason: str,
        version: str,
        options: RecallOptions,
        stages: Stages,
        seen: Sequence[str],
    ) -> Candidates:
        """Return what is popular and fresh instead of what suits a user, or say why not."""
        if options.strict:
            raise NotFound(f"{reason}; ask by text or by item, or without strict")
        options = replace(options, version=version)
        return Candidates(
            frame=self.popular(options, left_out=seen, stages=stages),
            fallback=f"{reason}; these are popular and fresh items",
            **self._told(version, options, stages),
        )

    def _found(
        self,
        seeds: Sequence[Seed],
        version: str,
        options: RecallOptions,
        stages: Stages,
        *,
        excluded: Sequence[str] = (),
        text: str = "",
        **details: Any,
    ) -> Candidates:
        with self.in_time():
            frame = self._retrieval.candidates(
                seeds,
                version,
                options,
                filter=options.filter.excluding(excluded),
                text=text,
                stages=stages,
            )
        return Candidates(frame=frame, **self._told(version, options, stages), **details)

    def _told(self, version: str, options: RecallOptions, stages: Stages) -> dict[str, Any]:
        names = options.filter.attributes.keys()
        hints = [] if self._catalogue is None else self._catalogue.hints(names)
        return {
            "version": version,
            "index_kind": self.index.kind_of(version),
            "consistency": self.index.consistency,
            "hints": tuple(hints),
            "timings_ms": stages.timings_ms,
            "took_ms": stages.took_ms,
        }

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


def _seen(history: UserHistory, seen: Seen, known: Sequence[str]) -> list[str]:
    """Return the items to leave out, those that shaped the profile first, 10,000 at most."""
    lists: dict[Seen, list[list[str]]] = {
        "none": [],
        "liked": [[*known], history.liked],
        "acted": [[*known], history.liked, history.acted],
        "shown": [[*known], history.liked, history.acted, history.shown],
    }
    return list(dict.fromkeys(item for items in lists[seen] for item in items))[:MAX_IDS]
