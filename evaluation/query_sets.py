"""Queries with known right answers: their files, their slices, and how well vectors answer them.

All is ranked exactly over the vectors of the items, so that it tells of the embedder and not of an
index.

Shape legend: Q = queries, N = items, D = embedding dimension.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from catalog.text_lines import text_lines
from embedder.content import Action, Content, Encoder, Encoding, Policy, prefix
from evaluation.exact_ranking import Catalogue, rank_all
from evaluation.metrics import Scores, means, measure
from evaluation.rankings import Rankings

POLICIES: tuple[Policy, ...] = ("never", "auto", "always")
METRICS = ("hit@1", "recall@10", "ndcg@10")
"""What versions, modes and policies are compared by."""

RECALL_METRICS = tuple(f"{metric}@{k}" for metric in ("hit", "recall", "ndcg") for k in (1, 10))
TOP_K = 10


class Query(msgspec.Struct, kw_only=True, frozen=True):
    """A row of a `queries.jsonl`, such as `ponder bazaar` writes."""

    query_id: str
    relevant: list[str]
    """Ids of every item that answers it."""

    text: str = ""
    item: str | None = None
    """Id of the item that is asked with instead of a text; it is not among the answers."""

    tier: str = "all"
    """A name to report by."""

    held_out: bool = False
    """Whether it asks for something that the embedder was never trained on."""

    def __post_init__(self) -> None:
        if not self.text and self.item is None:
            raise ValueError("a query must have a text or an item, got neither")


@dataclass(frozen=True, slots=True)
class QuerySet:
    """What there is to find, and to ask; every query has a right item."""

    contents: dict[str, Content]
    """By item_id, sorted."""

    queries: list[Query]

    @property
    def item_ids(self) -> list[str]:
        """The items that can be found, in the order of `contents`."""
        return list(self.contents)

    @property
    def query_contents(self) -> list[Content]:
        """The queries as an encoder reads them."""
        return [
            Content(query.text) if query.item is None else self.contents[query.item]
            for query in self.queries
        ]

    @property
    def chance(self) -> float:
        """The hit@1 of a blind guess: the mean share of right items."""
        return chance(self.queries, self.item_ids)

    def evaluate(self, query_vectors_QD: np.ndarray, item_vectors_ND: np.ndarray) -> Scores:
        """Return every query's `METRICS` among the set's items, in their order."""
        catalogue = Catalogue(self.item_ids, item_vectors_ND)
        return evaluate_vectors(self.queries, query_vectors_QD, catalogue)


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
    """How the gate's choice read a query, and what it found."""

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


def read_queries(path: Path) -> list[Query]:
    """Read the queries of a file; blank lines are no queries, and a null counts as absent.

    Raises:
        ValueError: a line is not a query; the text names it.
    """
    queries = []
    for number, line in text_lines(path):
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
            known = {name: value for name, value in fields.items() if value is not None}
            queries.append(msgspec.convert(known, type=Query))
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}:{number + 1} is not a query: {error}") from error
    return queries


def write_queries(path: Path, queries: Iterable[Query]) -> None:
    """Write a file that `read_queries` reads."""
    path.write_bytes(msgspec.json.Encoder().encode_lines(queries))


def answerable(queries: Iterable[Query], item_ids: Iterable[str]) -> list[Query]:
    """Return the queries at least one of whose right items is there."""
    known = set(item_ids)
    return [query for query in queries if known & set(query.relevant)]


def slices(queries: Sequence[Query]) -> dict[str, np.ndarray]:
    """Return the rows of all queries, of every tier, and of those that ask for what was held out.

    A slice without queries is left out.
    """
    rows_of = {"all": np.arange(len(queries))}
    for tier in dict.fromkeys(query.tier for query in queries if query.tier != "all"):
        rows_of[tier] = np.flatnonzero([query.tier == tier for query in queries])
    held_out = np.flatnonzero([query.held_out for query in queries])
    return rows_of | ({"held_out": held_out} if len(held_out) else {})


def chance(queries: Sequence[Query], item_ids: Sequence[str]) -> float:
    """Return the hit@1 of a blind guess: the mean share of right items."""
    return sum(map(len, _relevant(queries, item_ids))) / len(queries) / len(item_ids)


def evaluate_vectors(
    queries: Sequence[Query],
    query_vectors_QD: np.ndarray,
    catalogue: Catalogue,
    *,
    names: Iterable[str] = METRICS,
) -> Scores:
    """Return [Q] values of each metric, an item that asks being no answer to itself.

    Args:
        queries: each with a right item in the catalogue.
        query_vectors_QD: theirs.
        catalogue: what can be found.
        names: metrics, none deeper than 10.
    """
    return _scores(queries, _ranked(queries, query_vectors_QD, catalogue), catalogue, names)


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
    for policy in POLICIES:
        started = time.perf_counter()
        encodings = encoder.encode_query(contents, policy=policy)
        seconds = time.perf_counter() - started
        vectors_QD = np.stack([encoding.vector for encoding in encodings])
        ranked = _ranked(asked, vectors_QD, catalogue)
        policies[policy] = PolicyEvaluation(
            reason_rate=float(np.mean([e.action == "reason" for e in encodings])),
            seconds=seconds,
            slices=_by_slice(asked, _scores(asked, ranked, catalogue, RECALL_METRICS)),
        )
        if policy == "auto":
            prefixes = _by_prefix(asked, vectors_QD, catalogue, dims)
            examples = _examples(asked, encodings, ranked)
        progress(len(asked))
    return QueryEvaluation(
        num_queries=len(asked),
        num_items=len(catalogue.item_ids),
        chance=chance(asked, catalogue.item_ids),
        policies=policies,
        prefixes=prefixes,
        examples=examples,
    )


def _relevant(queries: Sequence[Query], item_ids: Iterable[str]) -> list[set[str]]:
    known = set(item_ids)
    return [known & set(query.relevant) for query in queries]


def _ranked(
    queries: Sequence[Query], query_vectors_QD: np.ndarray, catalogue: Catalogue
) -> list[list[str]]:
    return rank_all(
        query_vectors_QD,
        catalogue.vectors_ND,
        catalogue.item_ids,
        top_k=TOP_K,
        exclude=[() if query.item is None else (query.item,) for query in queries],
    )


def _scores(
    queries: Sequence[Query],
    ranked: Sequence[Sequence[str]],
    catalogue: Catalogue,
    names: Iterable[str],
) -> Scores:
    return measure(Rankings.of_lists(ranked, _relevant(queries, catalogue.item_ids)), names)


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
    asked: Sequence[Query], encodings: Sequence[Encoding], ranked: Sequence[list[str]]
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
            relevant=query.relevant,
        )
        for query, encoding, found in zip(asked, encodings, ranked, strict=True)
    ]
