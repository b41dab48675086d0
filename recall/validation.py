"""Whether a model version's collection may go live: is it complete, and does it find what is there?

It is asked what users ask: profiles of users and texts, as deep as recall answers, beside the
items' own vectors, for which an approximate index does best. Exact search over the lake is the
truth.

Shape legend: Q = queries, S = sampled items, D = embedding dimension.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import polars as pl

from catalog.lake.living_parts import LivingPart
from recall.contents import Contents, read_contents
from recall.index import ItemIndex
from recall.validation_config import ValidationConfig
from recall.vector_search import VectorSearch

SAME_SCORE = 1e-5  # float32 cosines of one pair, computed along two paths, differ by less
NUM_NEIGHBOURS = 10
ITEMS_PER_PROFILE = 4  # so many sampled items are searched for by one that is searched deep


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known of a version from elsewhere than its collection; None: not measured."""

    num_living: int | None = None
    """Items that it should cover: living, and not such that it failed to embed."""

    canary_cosine: float | None = None
    """Lowest cosine between stored vectors and vectors made of the same items just now."""

    reasoning_rate: float | None = None
    """Share of its embeddings that were reasoned about."""

    wait_hours: float | None = None
    """For how long the item has been waiting that waits longest for its embedding; 0: none does."""

    judged_recall: float | None = None
    """recall@10 of judged queries."""

    live_judged_recall: float | None = None
    """Of the live version, on the same queries."""

    last_centroid_D: tuple[float, ...] | None = None
    """Mean of the vectors at the version's last validation."""

    last_reasoning_rate: float | None = None
    """At the version's last validation."""


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

    coverage: float | None
    """Share of the items to cover that have a vector, in [0, 1]; 1 where there is none."""

    self_retrieval: float
    """Share of sampled items that come back first, or tied for first, for their own vector; 1 where
    there is none to sample."""

    recall: dict[str, float]
    """Mean share of what exact search finds that the index finds, by `KIND@DEPTH`; ties count as
    found."""

    live_version: str | None
    """The version that is live now; None when there is none or it is this one."""

    live_overlap: float | None
    """Mean share of ten neighbours kept from the live version; None with nothing to compare."""

    score_shift: float | None
    """Mean score of an item's ten neighbours, minus that in the live version."""

    canary_cosine: float | None
    centroid_cosine: float | None
    """Between the mean of the vectors and that at the version's last validation."""

    mean_norm: float
    """Of the stored vectors; 1 for vectors that are as they should be."""

    reasoning_rate: float | None
    reasoning_change: float | None
    """Against the version's last validation."""

    wait_hours: float | None
    judged_recall: float | None
    judged_drop: float | None
    """recall@10 of the judged queries in the live version, minus that in this one."""

    digest: str
    """Of what the collection held; `ItemIndex.digest` tells whether it still does."""

    centroid_D: tuple[float, ...]

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
        return [*found, *self._too_low(), *self._too_high()]

    def _too_low(self) -> Iterator[str]:
        config = self.config
        limits: dict[str, tuple[float | None, float]] = {
            name: (getattr(self, name), getattr(config, f"min_{name}"))
            for name in (
                *("coverage", "self_retrieval", "live_overlap"),
                *("canary_cosine", "centroid_cosine"),
            )
        }
        for name, (value, least) in limits.items():
            if value is not None and value < least:
                yield f"{name} must be >= {least}, got {value:.4f}"
        for at, value in self.recall.items():
            if value < config.min_recall:
                yield (
                    f"recall of {at} must be >= {config.min_recall}, got {value:.4f}; raise "
                    "PONDER_INDEX_EF, or make an index that compares with all "
                    "(PONDER_INDEX_TYPE=FLAT)"
                )

    def _too_high(self) -> Iterator[str]:
        for name in ("score_shift", "norm_drift", "reasoning_change", "judged_drop"):
            value, most = getattr(self, name), getattr(self.config, f"max_{name}")
            is_two_sided = name != "judged_drop"
            if value is not None and (abs(value) if is_two_sided else value) > most:
                yield f"{name} must be <= {most}, got {value:.4f}"
        wait, most = self.wait_hours, self.config.max_wait_hours
        if most and wait is not None and wait > most:
            yield f"wait_hours must be <= {most}, got {wait:.1f}; embed what waits"

    @property
    def norm_drift(self) -> float | None:
        """Mean length of the vectors, minus 1; None where there is none."""
        return self.mean_norm - 1 if self.num_items else None

    @property
    def passed(self) -> bool:
        """Whether the version may go live."""
        return not self.problems


def validate(
    index: ItemIndex,
    version: str,
    parts: Iterable[LivingPart],
    *,
    truth: VectorSearch,
    queries: Mapping[str, np.ndarray] | None = None,
    evidence: Evidence | None = None,
    live: str | None = None,
    config: ValidationConfig | None = None,
    seed: int = 0,
) -> Validation:
    """Say what there is for and against promoting a version.

    An empty collection that should be empty passes: its last item was deleted. Keys and hashes are
    compared rather than counts, which a Milvus server gets wrong for minutes after a write; then
    the index is waited for, and searched.

    Args:
        index: where the version is.
        version: model version to check.
        parts: what its collection should hold, from the lake, and what it holds.
        truth: exact search over the lake's vectors of the version.
        queries: [Q, D] vectors by kind (`profiles`, `texts`), asked beside the items' own.
        evidence: what else is known.
        live: the version that is live; None when there is none.
        config: what must be reached.
        seed: of the sample.

    Raises:
        NotFound: the version has no collection.
        ValueError: a vector of the lake is no good.
    """
    config, evidence = config or ValidationConfig(), evidence or Evidence()
    dim = index.dim(version)
    contents = read_contents(parts, dim=dim, sample=config.sample, seed=seed)
    index.wait_until_indexed(version)
    other = None if live == version or live not in index.versions() else live
    overlap, shift = (
        (None, None) if other is None else _against_live(index, version, other, contents)
    )
    return Validation(
        version=version,
        config=config,
        num_items=contents.num_items,
        missing=contents.missing,
        stale=contents.stale,
        awaiting=contents.awaiting,
        extra=contents.extra,
        mean_norm=contents.mean_norm,
        digest=contents.digest,
        coverage=_coverage(contents.num_items, evidence.num_living),
        self_retrieval=_self_retrieval(index, version, truth, contents),
        recall=_recalls(index, version, truth, contents, queries or {}, config.depths),
        live_version=other,
        live_overlap=overlap,
        score_shift=shift,
        canary_cosine=evidence.canary_cosine,
        centroid_cosine=_cosine(contents.centroid_D, evidence.last_centroid_D),
        reasoning_rate=evidence.reasoning_rate,
        reasoning_change=_minus(evidence.reasoning_rate, evidence.last_reasoning_rate),
        wait_hours=evidence.wait_hours,
        judged_recall=evidence.judged_recall,
        judged_drop=_minus(evidence.live_judged_recall, evidence.judged_recall),
        centroid_D=tuple(contents.centroid_D.tolist()),
    )


def _coverage(num_items: int, num_living: int | None) -> float | None:
    return None if num_living is None else min(num_items / num_living, 1.0) if num_living else 1.0


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _cosine(centroid_D: np.ndarray, other_D: tuple[float, ...] | None) -> float | None:
    if other_D is None or len(other_D) != len(centroid_D) or not len(centroid_D):
        return None
    norms = np.linalg.norm(centroid_D) * np.linalg.norm(other_D)
    return float(centroid_D @ np.asarray(other_D) / norms) if norms > 0 else None


def _self_retrieval(
    index: ItemIndex, version: str, truth: VectorSearch, contents: Contents
) -> float:
    """Compare with the lake's vector of what came first: the collection's may be another one."""
    if not contents.sample_ids:
        return 1.0
    found = index.search(contents.sample_SD, version, limit=1)
    firsts = dict(found.select("query_index", "item_id").iter_rows())
    vectors = truth.vectors(list(firsts.values()), version)
    own = [
        firsts.get(s) in vectors and vectors[firsts[s]] @ vector_D >= 1 - SAME_SCORE
        for s, vector_D in enumerate(contents.sample_SD)
    ]
    return float(np.mean(own))


def _recalls(
    index: ItemIndex,
    version: str,
    truth: VectorSearch,
    contents: Contents,
    queries: Mapping[str, np.ndarray],
    depths: Iterable[int],
) -> dict[str, float]:
    few = -(-len(contents.sample_ids) // ITEMS_PER_PROFILE)
    kinds = {"items": contents.sample_SD, **queries}
    capped = dict.fromkeys(min(depth, contents.num_items) for depth in depths)
    shares: dict[str, float] = {}
    for kind, vectors_QD in kinds.items():
        for depth in capped:
            asked_QD = vectors_QD if depth <= NUM_NEIGHBOURS else vectors_QD[: max(few, 1)]
            if len(asked_QD) and depth:
                shares[f"{kind}@{depth}"] = _recall(index, version, truth, asked_QD, depth)
    return shares


def _recall(
    index: ItemIndex, version: str, truth: VectorSearch, vectors_QD: np.ndarray, depth: int
) -> float:
    """Return the mean share of the exact `depth` best that the index finds.

    What is found is scored by the truth: an index that keeps eight bits of a number rounds its own.
    """
    exact = truth.search(vectors_QD, version, limit=depth)
    score = pl.col("recall_score")
    edges = exact.group_by("query_index").agg(score.min().alias("edge"), pl.len().alias("count"))
    found = index.search(vectors_QD, version, limit=depth)
    ids = dict(found.group_by("query_index").agg("item_id").iter_rows())
    shares = []
    for q, edge, count in edges.iter_rows():
        vectors = truth.vectors(ids.get(q, []), version)
        query_D = vectors_QD[q] / np.linalg.norm(vectors_QD[q])
        shares.append(sum(v @ query_D >= edge - SAME_SCORE for v in vectors.values()) / count)
    return float(np.mean(shares)) if shares else 1.0


def _against_live(
    index: ItemIndex, version: str, live: str, contents: Contents
) -> tuple[float | None, float | None]:
    """Return the mean share of neighbours kept from the live version, and how scores moved."""
    vectors = index.vectors(contents.sample_ids, live)
    both = [s for s, item_id in enumerate(contents.sample_ids) if item_id in vectors]
    if not both:
        return None, None
    ids = [contents.sample_ids[s] for s in both]
    now = _neighbours(index, version, contents.sample_SD[both], ids)
    before = _neighbours(index, live, np.stack([vectors[item_id] for item_id in ids]), ids)
    pairs = list(zip(now, before, strict=True))
    shares = [len(new.keys() & old.keys()) / max(len(old), 1) for new, old in pairs]
    shifts = [fmean(new.values()) - fmean(old.values()) for new, old in pairs if new and old]
    return fmean(shares), fmean(shifts) if shifts else None


def _neighbours(
    index: ItemIndex, version: str, vectors_SD: np.ndarray, ids: list[str]
) -> list[dict[str, float]]:
    """Return the neighbours of each item and their scores, the item itself left out."""
    found = index.search(vectors_SD, version, limit=NUM_NEIGHBOURS + 1)
    scores: list[dict[str, float]] = [{} for _ in ids]
    for q, item_id, score in found.select("query_index", "item_id", "recall_score").iter_rows():
        if item_id != ids[q] and len(scores[q]) < NUM_NEIGHBOURS:
            scores[q][item_id] = score
    return scores
