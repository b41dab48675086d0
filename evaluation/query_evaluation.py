"""How well one version finds what queries ask for, under each policy of reasoning.

Shape legend: Q = queries, N = items, D = embedding dimension.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from embedder.content import Action, Content, Encoder, Encoding, Policy, prefix
from evaluation.exact_ranking import Catalogue
from evaluation.metrics import Scores, means
from evaluation.query_sets import (
    Query,
    answerable,
    chance,
    evaluate_vectors,
    measure_lists,
    rank_for,
    slices,
)

NUM_WARMING = 8  # queries that are encoded before time is taken
POLICIES: tuple[Policy, ...] = ("never", "auto", "always")
RECALL_METRICS = tuple(f"{metric}@{k}" for metric in ("hit", "recall", "ndcg") for k in (1, 10))


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyEvaluation:
    """How queries fare under one policy."""

    reason_rate: float
    """Share of the queries that were reasoned about."""

    seconds: float
    """To encode all queries."""

    slices: dict[str, dict[str, float]]
    """Slice -> num_queries, and `RECALL_METRICS` as means over them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweredQuery:
    """How the gate's choice read a query, and what it found with and without reasoning."""

    query_id: str
    text: str
    tier: str
    held_out: bool
    action: Action
    gate_probability: float
    rationale: str
    summary: str
    found: list[str]
    """Ids, best first."""

    found_direct: list[str]
    """The same without reasoning."""

    relevant: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryEvaluation:
    """How well one version finds what queries ask for."""

    num_queries: int
    num_items: int

    chance: float
    """The hit@1 of a blind guess: the mean share of right items."""

    policies: dict[Policy, PolicyEvaluation]

    prefixes: dict[str, dict[str, float]]
    """Numbers kept of each vector -> `RECALL_METRICS` under policy `auto`."""

    examples: list[AnsweredQuery]
    """Every query under policy `auto`."""


def evaluate_queries(
    queries: Sequence[Query],
    catalogue: Catalogue,
    encoder: Encoder,
    *,
    dims: Sequence[int] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> QueryEvaluation:
    """Measure the queries under each policy: overall, by tier, and on what was held out.

    A query none of whose right items is in the catalogue (all were deleted) is left out.

    Args:
        queries: what to ask, with texts.
        catalogue: what can be found.
        encoder: of the version that made the catalogue's vectors.
        dims: prefixes of the vectors to measure besides, under `auto`.
        progress: told how many more queries were encoded.

    Raises:
        ValueError: a query asks with an item; a catalogue of vectors holds no contents.
    """
    asked = answerable(queries, catalogue.item_ids)
    if with_item := [query.query_id for query in asked if query.item is not None]:
        raise ValueError(f"every query must ask with a text, got {with_item[0]!r} with an item")
    contents = [Content(query.text) for query in asked]
    policies: dict[Policy, PolicyEvaluation] = {}
    prefixes: dict[str, dict[str, float]] = {}
    examples: list[AnsweredQuery] = []
    found: dict[Policy, Sequence[list[str]]] = {}
    encoder.encode_query(contents[:NUM_WARMING], policy="always")
    for policy in POLICIES:
        started = time.perf_counter()
        encodings = encoder.encode_query(contents, policy=policy)
        seconds = time.perf_counter() - started
        vectors_QD = np.stack([encoding.vector for encoding in encodings])
        ranked = found[policy] = rank_for(asked, vectors_QD, catalogue)
        policies[policy] = PolicyEvaluation(
            reason_rate=float(np.mean([e.action == "reason" for e in encodings])),
            seconds=seconds,
            slices=_by_slice(asked, measure_lists(asked, ranked, catalogue, names=RECALL_METRICS)),
        )
        if policy == "auto":
            prefixes = _by_prefix(asked, vectors_QD, catalogue, dims)
            examples = _examples(asked, encodings, ranked, found["never"])
        progress(len(asked))
    return QueryEvaluation(
        num_queries=len(asked),
        num_items=len(catalogue.item_ids),
        chance=chance(asked, catalogue.item_ids),
        policies=policies,
        prefixes=prefixes,
        examples=examples,
    )


def _by_prefix(
    asked: Sequence[Query], vectors_QD: np.ndarray, catalogue: Catalogue, dims: Sequence[int]
) -> dict[str, dict[str, float]]:
    return {
        str(dim): means(
            evaluate_vectors(
                asked,
                prefix(vectors_QD, dim),
                Catalogue(catalogue.item_ids, prefix(catalogue.vectors_ND, dim)),
                names=RECALL_METRICS,
            )
        )
        for dim in dims
    }


def _by_slice(asked: Sequence[Query], scores: Scores) -> dict[str, dict[str, float]]:
    return {
        name: {"num_queries": len(rows), **means(scores, rows)}
        for name, rows in slices(asked).items()
    }


def _examples(
    asked: Sequence[Query],
    encodings: Sequence[Encoding],
    ranked: Sequence[list[str]],
    directly: Sequence[list[str]],
) -> list[AnsweredQuery]:
    return [
        AnsweredQuery(
            query_id=query.query_id,
            text=query.text,
            tier=query.tier,
            held_out=query.held_out,
            action=encoding.action,
            gate_probability=encoding.gate_probability,
            rationale=encoding.rationale,
            summary=encoding.summary,
            found=found,
            found_direct=found_direct,
            relevant=query.relevant,
        )
        for query, encoding, found, found_direct in zip(
            asked, encodings, ranked, directly, strict=True
        )
    ]
