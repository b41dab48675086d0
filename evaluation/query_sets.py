"""Queries with known right answers: their files, their slices, and how well vectors answer them.

All is ranked exactly over the vectors of the items, so that it tells of the embedder and not of an
index.

Shape legend: Q = queries, N = items, D = embedding dimension.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from catalog.text_lines import text_lines
from embedder.content import Content
from evaluation.exact_ranking import Catalogue, rank_all
from evaluation.metrics import Scores, measure
from evaluation.rankings import Rankings

METRICS = ("hit@1", "recall@10", "ndcg@10")
"""What versions, modes and policies are compared by."""

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
    ranked = rank_for(queries, query_vectors_QD, catalogue)
    return measure_lists(queries, ranked, catalogue, names=names)


def rank_for(
    queries: Sequence[Query], query_vectors_QD: np.ndarray, catalogue: Catalogue
) -> list[list[str]]:
    """Return the ids of the 10 best items for each query, without the item that it asks with."""
    return rank_all(
        query_vectors_QD,
        catalogue.vectors_ND,
        catalogue.item_ids,
        top_k=TOP_K,
        exclude=[() if query.item is None else (query.item,) for query in queries],
    )


def measure_lists(
    queries: Sequence[Query],
    ranked: Sequence[Sequence[str]],
    catalogue: Catalogue,
    *,
    names: Iterable[str] = METRICS,
) -> Scores:
    """Return [Q] values of each metric of what was found, as of `rank_for`."""
    return measure(Rankings.of_lists(ranked, _relevant(queries, catalogue.item_ids)), names)


def _relevant(queries: Sequence[Query], item_ids: Iterable[str]) -> list[set[str]]:
    known = set(item_ids)
    return [known & set(query.relevant) for query in queries]
