"""From query vectors to candidates: searched, merged, fused with words, and spread out.

Shape legend: Q = query vectors, N = candidates, D = embedding dimension.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import polars as pl

from evaluation.exact_ranking import SCORE_DECIMALS
from recall.candidates import CANDIDATES, Channel, RecallOptions
from recall.catalogue_store import CatalogueStore
from recall.diversity import distinct, mmr
from recall.errors import Unavailable
from recall.filters import Filter
from recall.fusion import interleaved, reciprocal_rank_fusion
from recall.stages import Stages
from recall.vector_search import NO_FILTER, VectorSearch

MIN_POOL = 100
MAX_MORE = 1_000
MAX_POOL = 4_000  # looked through when too many of the first are near-duplicates
LEXICAL_POOL = 1_000

ImageHashes = Callable[[Sequence[str]], Mapping[str, str]]
"""From item ids to the hashes of their images; items without one are absent."""


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """A vector to search by."""

    vector_D: np.ndarray
    channel: Channel

    weight: float = 1.0
    """Of its candidates among those of the other seeds, > 0."""

    interest: str | None = None
    """The item that it is the vector of, where it stands for an interest."""

    code_prefix: str = ""
    """Codes with which those begin that it looks for; empty: it looks for all."""

    def narrowed(self, filter: Filter) -> Filter:
        """Return the filter of its search."""
        return filter.under(self.code_prefix) if self.code_prefix else filter


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate before it has a rank."""

    item_id: str
    score: float
    channels: tuple[Channel, ...]
    interest: str | None = None
    fused_score: float | None = None


class Retrieval:
    """Searches one index; safe to use from several threads."""

    def __init__(
        self,
        index: VectorSearch,
        *,
        catalogue: CatalogueStore | None = None,
        image_hashes_of: ImageHashes | None = None,
    ) -> None:
        """Search an index.

        Args:
            index: where the item vectors are.
            catalogue: knows the items' words; None: there is no hybrid search.
            image_hashes_of: tells near-duplicates by their images; None: only by their vectors.
        """
        self._index, self._catalogue = index, catalogue
        self._image_hashes_of: ImageHashes = image_hashes_of or (lambda item_ids: {})

    def candidates(
        self,
        seeds: Sequence[Seed],
        version: str,
        options: RecallOptions,
        *,
        filter: Filter,
        text: str,
        stages: Stages,
    ) -> pl.DataFrame:
        """Return candidates in the columns of `recall.candidates.CANDIDATES`.

        Args:
            seeds: at least one; with several, candidates take turns by weight.
            version: model version of the vectors.
            options: of them, the ones about candidates.
            filter: what an item must meet, exclusions included.
            text: what hybrid search looks for.
            stages: told how long each part takes.

        Raises:
            Unavailable: hybrid search is wanted, and the words have not been read yet.
        """
        if len(seeds) == 1 and not options.hybrid and not options.diversifies:
            own = seeds[0].narrowed(filter)
            [found] = self.plain(seeds, version, options, filter=own, stages=[stages])
            return found
        depth = _pool_size(options)
        while True:  # near-duplicates may leave too few of the first pool
            pool = self._merged(seeds, version, depth=depth, filter=filter, stages=stages)
            is_all = len(pool) < depth
            if options.hybrid:
                pool = self._fused(pool, seeds[0], version, text, filter=filter, stages=stages)
            if options.diversifies:
                pool = self._spread_out(pool, version, options, stages=stages)
            if len(pool) >= options.top_k or is_all or depth >= MAX_POOL:
                return candidate_frame(pool[: options.top_k])
            depth = min(4 * depth, MAX_POOL)

    def plain(
        self,
        seeds: Sequence[Seed],
        version: str,
        options: RecallOptions,
        *,
        filter: Filter,
        stages: Sequence[Stages],
    ) -> list[pl.DataFrame]:
        """Return the candidates near each seed by itself, all of them searched for in one call.

        Args:
            seeds: at least one, of as many queries.
            version: model version of the vectors.
            options: of them, `top_k`.
            filter: what an item must meet.
            stages: of each query; told how long it took.
        """
        with ExitStack() as timed:
            for each in stages:
                timed.enter_context(each.time("search"))
            vectors_QD = np.stack([seed.vector_D for seed in seeds])
            ranked = self._index.search(vectors_QD, version, limit=options.top_k, filter=filter)
        lengths = np.bincount(ranked["query_index"].to_numpy(), minlength=len(seeds)).tolist()
        starts = accumulate(lengths, initial=0)
        return [
            _one_channel(ranked.slice(start, length), seed)
            for start, length, seed in zip(starts, lengths, seeds, strict=False)
        ]

    def _merged(
        self,
        seeds: Sequence[Seed],
        version: str,
        *,
        depth: int,
        filter: Filter,
        stages: Stages,
    ) -> list[Found]:
        lists: list[list[str]] = [[] for _ in seeds]
        scores: dict[str, float] = {}
        by_prefix: dict[str, list[int]] = {}
        for number, seed in enumerate(seeds):
            by_prefix.setdefault(seed.code_prefix, []).append(number)
        for numbers in by_prefix.values():  # one search for all that look among the same items
            with stages.time("search"):
                ranked = self._index.search(
                    np.stack([seeds[number].vector_D for number in numbers]),
                    version,
                    limit=depth,
                    filter=seeds[numbers[0]].narrowed(filter),
                )
            for place, item_id, score in ranked.select(
                "query_index", "item_id", "recall_score"
            ).iter_rows():
                lists[numbers[place]].append(item_id)
                scores[item_id] = max(score, scores.get(item_id, -1.0))
        taken = interleaved(lists, [seed.weight for seed in seeds], limit=depth)
        return [
            Found(item_id, scores[item_id], (seeds[number].channel,), seeds[number].interest)
            for item_id, number in taken
        ]

    def _fused(
        self,
        pool: list[Found],
        seed: Seed,
        version: str,
        text: str,
        *,
        filter: Filter,
        stages: Stages,
    ) -> list[Found]:
        """Return both lists fused, what only the words found with its cosine."""
        if self._catalogue is None:
            raise Unavailable("there is no text index here; ask without hybrid")
        with stages.time("lexical"):
            matches = self._catalogue.lexical(text, limit=LEXICAL_POOL)
            ids = [match.item_id for match in matches]
            vectors = self.vectors(ids, version, filter=filter)
        lexical = [item_id for item_id in ids if item_id in vectors]
        known = {found.item_id: found for found in pool}
        query_D = seed.vector_D / np.linalg.norm(seed.vector_D)
        for item_id in lexical:
            if (found := known.get(item_id)) is None:
                score = round(float(vectors[item_id] @ query_D), SCORE_DECIMALS)
                known[item_id] = Found(item_id, score, ("lexical",))
            else:
                known[item_id] = replace(found, channels=(*found.channels, "lexical"))
        fused = reciprocal_rank_fusion([[found.item_id for found in pool], lexical])
        return [replace(known[item_id], fused_score=fused[item_id]) for item_id in fused]

    def _spread_out(
        self, pool: list[Found], version: str, options: RecallOptions, *, stages: Stages
    ) -> list[Found]:
        with stages.time("diversity"):
            ids = [found.item_id for found in pool]
            vectors = self.vectors(ids, version)
            pool = [found for found in pool if found.item_id in vectors]
            if not pool:  # all of it was deleted since the search
                return []
            vectors_ND = np.stack([vectors[found.item_id] for found in pool])
            if options.max_similarity is not None:
                hashes = self._image_hashes_of(ids)
                rows = distinct(
                    vectors_ND,
                    [hashes.get(found.item_id) for found in pool],
                    max_similarity=options.max_similarity,
                    limit=len(pool) if options.mmr_lambda is not None else options.top_k,
                )
                pool, vectors_ND = [pool[row] for row in rows], vectors_ND[rows]
            if options.mmr_lambda is not None:
                rows = mmr(
                    _relevance(pool),
                    vectors_ND,
                    mmr_lambda=options.mmr_lambda,
                    limit=options.top_k,
                )
                pool = [pool[row] for row in rows]
            return pool

    def vectors(
        self, item_ids: Sequence[str], version: str, *, filter: Filter = NO_FILTER
    ) -> dict[str, np.ndarray]:
        """Return the [D] unit vectors of the items that the version holds and the filter lets pass.

        Args:
            item_ids: in any number.
            version: model version.
            filter: what an item must meet.
        """
        found = self._index.vectors(item_ids, version, filter=filter)
        return {item_id: vector / np.linalg.norm(vector) for item_id, vector in found.items()}


def _one_channel(ranked: pl.DataFrame, seed: Seed) -> pl.DataFrame:
    """Return what a search found for one seed, as candidates."""
    constant = {"channels": [seed.channel], "fused_score": None, "interest": seed.interest}
    return pl.DataFrame(
        [ranked["item_id"], ranked["recall_score"], ranked["recall_rank"]]
        + [
            pl.Series(name, [value], CANDIDATES[name]).new_from_index(0, len(ranked))
            for name, value in constant.items()
        ]
    )


def candidate_frame(found: Sequence[Found], *, has_scores: bool = True) -> pl.DataFrame:
    """Return candidates, best first, in the columns of `recall.candidates.CANDIDATES`."""
    channels = list(dict.fromkeys(one.channels for one in found))
    number_of = {each: number for number, each in enumerate(channels)}
    # A list of lists takes as long as the search; there are few that differ.
    lists = pl.Series([list(each) for each in channels], dtype=CANDIDATES["channels"])
    columns = {
        "item_id": [one.item_id for one in found],
        "recall_score": [one.score if has_scores else None for one in found],
        "recall_rank": range(1, len(found) + 1),
        "channels": lists.gather([number_of[one.channels] for one in found]),
        "fused_score": [one.fused_score for one in found],
        "interest": [one.interest for one in found],
    }
    return pl.DataFrame(columns, schema=CANDIDATES)


def _pool_size(options: RecallOptions) -> int:
    if options.diversifies:
        return min(max(4 * options.top_k, MIN_POOL), options.top_k + MAX_MORE)
    return max(options.top_k, MIN_POOL) if options.hybrid else options.top_k


def _relevance(pool: Sequence[Found]) -> np.ndarray:
    """Return [N] how well each fits: its cosine; fused scores are stretched to the same range."""
    score_N = np.array([found.score for found in pool])
    if pool[0].fused_score is None:
        return score_N
    fused_N = np.array([found.fused_score for found in pool])
    span = np.ptp(fused_N) or 1.0
    return score_N.min() + (fused_N - fused_N.min()) / span * np.ptp(score_N)
