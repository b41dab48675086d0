"""Candidates for a query: by text, image, item, user or history.

One model version answers a request from start to end: it is read from the alias once, and the
encoder, the vectors fetched and the collection searched are all that version's, whatever is
promoted meanwhile (https://github.com/milvus-io/milvus/issues/15378).
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from embedder.content import Content, Encoder
from features.history_store import Histories, UserHistory
from features.neighbours import NeighboursNow
from features.profile import ProfileConfig
from recall.candidates import Candidates, RecallOptions
from recall.catalogue_store import CatalogueStore
from recall.code_seeds import Coder, CodeSeeds
from recall.content_query import EncodedQuery, SubmittedQuery
from recall.errors import InvalidQuery, NotFound
from recall.history_seeds import history_seeds, newest_known, seen_items
from recall.live_version import LiveVersion
from recall.living_items import LivingItems
from recall.popular import Known, first_known, popular_and_fresh
from recall.query_encoder import QueryEncoder, QueryEncoderConfig
from recall.reading_time import ReadingTime
from recall.retrieval import Found, ImageHashes, Retrieval, Seed, candidate_frame
from recall.stages import Stages
from recall.vector_search import VectorSearch

DEFAULTS = RecallOptions()
FALLBACK_ITEMS = 2_000


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
        centre_of: Callable[[str], np.ndarray | None] = lambda version: None,
        codes_of: Callable[[str], Coder | None] = lambda version: None,
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
            centre_of: [D] of a version, what is taken off profiles; see `history_seeds`.
            codes_of: gives vectors of a version their codes; None: it has none.
        """
        self.index = index
        self.encoder = QueryEncoder(encoder_of, queue)
        self.live = LiveVersion(index, self.encoder)
        self._histories = histories
        self._config, self._centre_of = config or ProfileConfig(), centre_of
        self._code_seeds = CodeSeeds(codes_of, self._config)
        self._catalogue, self._neighbours, self._living = catalogue, neighbours, living
        self._retrieval = Retrieval(index, catalogue=catalogue, image_hashes_of=image_hashes_of)
        self._reading = ReadingTime()

    def in_time(self) -> AbstractContextManager[None]:
        """Let all that a block asks of the index end in time, and see one state of it."""
        return self.index.request()

    def by_content(
        self,
        content: Content,
        options: RecallOptions = DEFAULTS,
        stages: Stages | None = None,
    ) -> Candidates:
        """Find items that match a text, an image, a clip, a sound, or several of them together.

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
        [found] = self.by_encodings([EncodedQuery(query, query.answer.result(), options, stages)])
        return found

    def submit(self, content: Content, options: RecallOptions, stages: Stages) -> SubmittedQuery:
        """Put a text or an image into the queue for its encoder; `by_encodings` goes on from there.

        Raises:
            Busy: too much waits, or so much that the deadline would pass.
            InvalidQuery, Unavailable: as `by_content` says.
        """
        shown = (content.image, content.clip, content.audio)
        if not content.text.strip() and all(each is None for each in shown):
            raise InvalidQuery(
                "a query must have a text, an image, a clip or a sound, got none of them"
            )
        with stages.time("version"), self.in_time():
            version = self.live.or_asked(options.version)
        deadline = None
        if options.deadline_s is not None:
            deadline = stages.started_at + self._reading.within(options.deadline_s)
        answer = self.encoder.submit(
            content,
            version,
            policy=options.policy,
            deadline=deadline,
            max_new_tokens=options.max_new_tokens,
        )
        return SubmittedQuery(content.text, version, answer)

    def by_encodings(self, queries: Sequence[EncodedQuery]) -> list[Candidates]:
        """Find items for texts and images that were put into the queue, and are encoded now.

        Args:
            queries: several must be `alike`, and are searched for in one call.
        """
        for query in queries:
            query.stages.add("prepare", query.encoded.prepared_ms)
            query.stages.add("queue", query.encoded.waited_ms)
            query.stages.add("encode", query.encoded.took_ms)
        seeds = [Seed(query.encoded.encoding.vector, "content") for query in queries]
        first, version = queries[0], queries[0].submitted.version
        with self.in_time():
            if len(queries) > 1:
                all_stages = [query.stages for query in queries]
                frames = self._retrieval.plain(
                    seeds, version, first.options, filter=first.options.filter, stages=all_stages
                )
            else:
                frames = [
                    self._retrieval.candidates(
                        seeds,
                        version,
                        first.options,
                        filter=first.options.filter,
                        text=first.submitted.text,
                        stages=first.stages,
                    )
                ]
        self._reading.searched(time.monotonic() - first.encoded.ended_at)
        return [self._of_content(query, f) for query, f in zip(queries, frames, strict=True)]

    def _of_content(self, query: EncodedQuery, frame: pl.DataFrame) -> Candidates:
        encoding = query.encoded.encoding
        return Candidates(
            frame=frame,
            action=encoding.action,
            gate_probability=encoding.gate_probability,
            rationale=encoding.rationale,
            direct_because=encoding.fallback,
            is_cut_short=encoding.out_of_time,
            **self._told(query.submitted.version, query.options, query.stages),
        )

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
                version = self.live.or_asked(options.version)
            with stages.time("vectors"):
                vectors = self.index.vectors([item_id], version)
            if item_id not in vectors:
                raise NotFound(f"item {item_id!r} is not in version {version!r}")
            seeds = [Seed(vectors[item_id], "item")]
            if options.code_levels is not None:
                seeds, _ = self._code_seeds.of([item_id], [vectors[item_id]], version, options)
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
        by_codes = options.filter.code_prefixes is not None  # what has no vector has none either
        if self._living is not None and not options.needs_vector and not by_codes:
            return partial(self._living.that_meet, options.filter)
        version = self.live.or_asked(options.version)
        return lambda ids: self._retrieval.vectors(ids, version, filter=options.filter).keys()

    def _by_history(
        self, history: UserHistory, options: RecallOptions, stages: Stages, *, whose: str
    ) -> Candidates:
        with self.in_time():
            with stages.time("version"):
                version = self.live.or_asked(options.version)
            with stages.time("vectors"):
                known, vectors = newest_known(
                    history.liked,
                    partial(self.index.vectors, version=version),
                    limit=self._config.max_history,
                )
            seen = seen_items(history, options.exclude_seen, known)
            if not known:
                reason = f"{whose} has no history of likes"
                if history.liked:
                    reason = (
                        f"none of the {len(history.liked)} items of {whose} is in version "
                        f"{version!r}"
                    )
                return self._popular(reason, version, options, stages, seen)
            with stages.time("interests"):
                if options.code_levels is not None:
                    seeds, found = self._code_seeds.of(known, vectors, version, options)
                else:
                    seeds, found = history_seeds(
                        known,
                        np.stack(vectors),
                        self._config,
                        max_interests=options.max_interests,
                        centre_D=self._centre_of(version),
                    )
            return self._found(
                seeds, version, options, stages, excluded=seen, interests=tuple(found)
            )

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
        **details: Any,
    ) -> Candidates:
        with self.in_time():
            frame = self._retrieval.candidates(
                seeds,
                version,
                options,
                filter=options.filter.excluding(excluded),
                text="",
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
