"""Whether a model version's collection may go live: is it complete, and does it find what it holds?

Shape legend: S = sampled items, N = items, K = neighbours,
D = embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from evaluation.exact_ranking import rank_all
from recall.collection import MAX_LIMIT
from recall.index import ItemIndex
from recall.rows import vector_matrix

SAME_SCORE = 1e-5  # float32 cosines of one pair, computed along two paths, differ by less


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationConfig:
    """What a collection must reach before it is promoted."""

    min_self_retrieval: float = 0.99
    """Share of sampled items that come back first for their own vector, in [0, 1]."""

    min_exact_overlap: float = 0.95
    """Mean share of the exact nearest neighbours that the index finds, in [0, 1]."""

    min_previous_overlap: float = 0.0
    """Mean share of neighbours that a sampled item keeps from the live version, in [0, 1]. 0
    reports it and never fails: a better model changes neighbours too."""

    num_neighbours: int = 10
    """Neighbours compared per sampled item."""

    def __post_init__(self) -> None:
        for name in ("min_self_retrieval", "min_exact_overlap", "min_previous_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 1 <= self.num_neighbours < MAX_LIMIT:
            raise ValueError(
                f"num_neighbours must be in [1, {MAX_LIMIT}), got {self.num_neighbours}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """What was found in a version's collection."""

    version: str
    config: ValidationConfig
    """What had to be reached."""

    num_items: int
    """Items that the collection should hold."""

    missing: int
    """Items that should be there and are not."""

    stale: int
    """Items that are there with another content than their present one."""

    awaiting: int
    """Those of the stale whose present content is not embedded yet. They keep their earlier vector
    until it is, and keep no version from going live."""

    extra: int
    """Items that are there and should not be."""

    self_retrieval: float
    """Share of sampled items that come back first, or tied for first, for their own vector; 1 where
    there is none to sample."""

    exact_overlap: float
    """Mean share of the exact nearest neighbours that the index finds; ties count as found. 1 where
    there is nothing to find."""

    previous_version: str | None
    """The version that is live now; None when there is none or it is this one."""

    previous_overlap: float | None
    """Mean share of neighbours kept from the live version; None with nothing to compare."""

    @property
    def problems(self) -> list[str]:
        """What keeps the version from going live, in words; empty when nothing does."""
        found = [
            f"{count} of {self.num_items} items are {word}; sync version {self.version!r} again"
            for word, count in (("missing", self.missing), ("stale", self.stale - self.awaiting))
            if count
        ]
        if self.extra:
            found.append(f"{self.extra} items should not be there; sync again")
        for name in ("self_retrieval", "exact_overlap", "previous_overlap"):
            value, least = getattr(self, name), getattr(self.config, f"min_{name}")
            if value is not None and value < least:
                found.append(f"{name} must be >= {least}, got {value:.4f}")
        return found

    @property
    def passed(self) -> bool:
        """Whether the version may go live."""
        return not self.problems


def validate(
    index: ItemIndex,
    version: str,
    embeddings: pl.DataFrame,
    *,
    sample: int = 200,
    seed: int = 0,
    config: ValidationConfig | None = None,
) -> Validation:
    """Say what there is for and against promoting a version.

    An empty collection that should be empty passes: its last item was deleted. Keys and hashes are
    compared rather than counts, which a Milvus server gets wrong for minutes after a write. Then a
    sample of items is searched for by its own vectors.

    Args:
        index: where the version is.
        version: model version to check.
        embeddings: what its collection should hold, from the lake.
            item_id      str, unique
            content_hash str, of the content that the vector was made of
            vector       list[f32]
            awaits_embedding  bool, whether that is an earlier content; absent: none is
        sample: items to search for, >= 1; all of them when there are fewer.
        seed: of the sample.
        config: what must be reached.

    Raises:
        NotFound: the version has no collection.
        ValueError: a vector in `embeddings` is no good.
    """
    config = config or ValidationConfig()
    embeddings = embeddings.sort("item_id")  # the sample must not depend on the order of the rows
    vectors_ND = vector_matrix(embeddings["vector"], dim=index.dim(version))
    vectors_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    ids = embeddings["item_id"].to_list()
    chosen_S = np.random.default_rng(seed).permutation(len(ids))[:sample]
    found = _neighbours(index, version, vectors_ND[chosen_S], num=config.num_neighbours + 1)
    live = index.live_version()
    previous = None if live == version else live
    sampled = dict(zip([ids[n] for n in chosen_S], found, strict=True))
    return Validation(
        version=version,
        config=config,
        num_items=len(ids),
        **_differences(embeddings, index.keys(version)),
        self_retrieval=_self_retrieval(found, chosen_S, vectors_ND, ids),
        exact_overlap=_exact_overlap(found, chosen_S, vectors_ND, ids, num=config.num_neighbours),
        previous_version=previous,
        previous_overlap=_kept(index, previous, sampled, num=config.num_neighbours)
        if previous is not None
        else None,
    )


def _neighbours(
    index: ItemIndex, version: str, vectors_SD: np.ndarray, *, num: int
) -> list[list[str]]:
    if not len(vectors_SD):
        return []
    frame = index.search(vectors_SD, version, limit=num)
    by_query = dict(frame.group_by("query_index", maintain_order=True).agg("item_id").iter_rows())
    return [by_query.get(s, []) for s in range(len(vectors_SD))]


def _differences(expected: pl.DataFrame, present: pl.DataFrame) -> dict[str, int]:
    both = expected.join(present, on="item_id", suffix="_present")
    is_behind = both["content_hash"] != both["content_hash_present"]
    awaits = both.get_column("awaits_embedding", default=pl.repeat(False, len(both), eager=True))
    awaiting = int((awaits & ~is_behind).sum())
    return {
        "missing": len(expected) - len(both),
        "stale": int(is_behind.sum()) + awaiting,
        "awaiting": awaiting,
        "extra": len(present) - len(both),
    }


def _self_retrieval(
    found: list[list[str]], chosen_S: np.ndarray, vectors_ND: np.ndarray, ids: Sequence[str]
) -> float:
    row_of = {item_id: n for n, item_id in enumerate(ids)}
    firsts = [row_of.get(items[0]) if items else None for items in found]
    own = [
        first is not None and vectors_ND[first] @ vectors_ND[n] >= 1 - SAME_SCORE
        for n, first in zip(chosen_S, firsts, strict=True)
    ]
    return float(np.mean(own)) if own else 1.0


def _exact_overlap(
    found: list[list[str]],
    chosen_S: np.ndarray,
    vectors_ND: np.ndarray,
    ids: Sequence[str],
    *,
    num: int,
) -> float:
    row_of = {item_id: n for n, item_id in enumerate(ids)}
    exact = rank_all(vectors_ND[chosen_S], vectors_ND, ids, top_k=num)
    shares = []
    for n, items, best in zip(chosen_S, found, exact, strict=True):
        edge = vectors_ND[row_of[best[-1]]] @ vectors_ND[n]
        rows = [row_of[item_id] for item_id in items[:num] if item_id in row_of]
        shares.append(float((vectors_ND[rows] @ vectors_ND[n] >= edge - SAME_SCORE).sum()))
        shares[-1] /= len(best)
    return float(np.mean(shares)) if shares else 1.0


def _kept(
    index: ItemIndex, previous: str, sampled: dict[str, list[str]], *, num: int
) -> float | None:
    vectors = index.vectors(list(sampled), previous)
    if not vectors:
        return None
    before = _neighbours(index, previous, np.stack(list(vectors.values())), num=num + 1)
    shares = []
    for item_id, old in zip(vectors, before, strict=True):
        old_K = [other for other in old if other != item_id][:num]
        new_K = [other for other in sampled[item_id] if other != item_id][:num]
        shares.append(len(set(old_K) & set(new_K)) / max(len(old_K), 1))
    return float(np.mean(shares))
