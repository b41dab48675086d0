"""How good recall is: judged queries by tier and policy, and users' next items.

Both rank exactly over the lake's vectors, so that they judge the embedder and not an index.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from embedder.content import Content, Encoder, Encoding, Policy, prefix
from evaluation.exact_ranking import leave_last_out, rank_all, ranking_metrics

POLICIES: tuple[Policy, ...] = ("never", "auto", "always")
KS = (1, 10)


class Query(msgspec.Struct, kw_only=True, frozen=True):
    """A row of `queries.jsonl`."""

    query_id: str
    text: str
    relevant: list[str]
    """Ids of every item that answers it."""

    tier: str = "all"
    """A name to report by."""

    held_out: bool = False
    """Whether it asks for something that the embedder was never trained on."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items that can be found."""

    item_ids: list[str]
    vectors_ND: np.ndarray

    @classmethod
    def of(cls, living: pl.DataFrame) -> "Catalogue":
        """From rows with item_id and vector."""
        return cls(living["item_id"].to_list(), np.array(living["vector"].to_list(), np.float32))


def read_queries(path: Path) -> list[Query]:
    """The queries of a file.

    Raises:
        ValueError: a line is not a query; the text names it.
    """
    queries = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            queries.append(msgspec.json.decode(line, type=Query))
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}:{number} is not a query: {error}") from error
    return queries


def evaluate_queries(
    queries: list[Query],
    catalogue: Catalogue,
    encoder: Encoder,
    *,
    dims: Sequence[int] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Metrics of the queries under each policy, overall, by tier, and on what was held out.

    A query none of whose right items is in the catalogue (all were deleted) is left out.

    Args:
        queries: what to ask.
        catalogue: what can be found.
        encoder: of the version that made the catalogue's vectors.
        dims: prefixes of the vectors to judge besides, under `auto`.
        progress: told how many more queries were encoded.

    Returns:
        num_queries, num_items, chance (mean share of right items, the hit@1 of a blind guess),
        policies: name -> reason_rate, seconds, and metrics by slice; prefixes: dim -> metrics;
        examples: how `auto` read each query and what it found.
    """
    known = set(catalogue.item_ids)
    asked = [query for query in queries if known & set(query.relevant)]
    relevant = [known & set(query.relevant) for query in asked]
    policies: dict[str, Any] = {}
    examples: list[dict[str, Any]] = []
    prefixes: dict[str, Any] = {}
    for policy in POLICIES:
        started = time.perf_counter()
        encodings = encoder.encode_query([Content(query.text) for query in asked], policy=policy)
        seconds = time.perf_counter() - started
        ranked = _ranked(encodings, catalogue)
        policies[policy] = {
            "reason_rate": float(np.mean([e.action == "reason" for e in encodings])),
            "seconds": seconds,
            "slices": _by_slice(asked, ranked, relevant),
        }
        if policy == "auto":
            examples = _examples(asked, encodings, ranked)
            prefixes = _by_prefix(encodings, catalogue, relevant, dims)
        progress(len(asked))
    return {
        "num_queries": len(asked),
        "num_items": len(catalogue.item_ids),
        "chance": float(np.mean([len(ids) for ids in relevant]) / len(catalogue.item_ids)),
        "policies": policies,
        "prefixes": prefixes,
        "examples": examples,
    }


def evaluate_histories(events: pl.DataFrame, catalogue: Catalogue) -> dict[str, Any]:
    """How well a user's earlier items find their last one: leave-last-out over all users.

    Every event but an impression or a skip counts as an interaction, whatever its value.
    """
    acted = events.filter(~pl.col("action").is_in(["impression", "skip"]))
    newest_first = acted.sort(["ts", "item_id"], descending=True).unique(
        ["user_id", "item_id"], keep="first", maintain_order=True
    )
    histories = {
        user_id: item_ids
        for user_id, item_ids in newest_first.group_by("user_id", maintain_order=True)
        .agg("item_id")
        .iter_rows()
    }
    metrics = leave_last_out(histories, catalogue.vectors_ND, catalogue.item_ids, ks=(1, 10, 100))
    return {"num_items": len(catalogue.item_ids), **metrics}


def _ranked(encodings: list[Encoding], catalogue: Catalogue) -> list[list[str]]:
    query_vectors_QD = np.stack([encoding.vector for encoding in encodings])
    return rank_all(query_vectors_QD, catalogue.vectors_ND, catalogue.item_ids, top_k=max(KS))


def _by_prefix(
    encodings: list[Encoding], catalogue: Catalogue, relevant: list[set[str]], dims: Sequence[int]
) -> dict[str, dict[str, float]]:
    query_vectors_QD = np.stack([encoding.vector for encoding in encodings])
    return {
        str(dim): ranking_metrics(
            rank_all(
                prefix(query_vectors_QD, dim),
                prefix(catalogue.vectors_ND, dim),
                catalogue.item_ids,
                top_k=max(KS),
            ),
            relevant,
            ks=KS,
        )
        for dim in dims
    }


def _by_slice(
    asked: list[Query], ranked: list[list[str]], relevant: list[set[str]]
) -> dict[str, dict[str, float]]:
    rows_of: dict[str, list[int]] = {"all": list(range(len(asked)))}
    for row, query in enumerate(asked):
        if query.tier != "all":
            rows_of.setdefault(query.tier, []).append(row)
        if query.held_out:
            rows_of.setdefault("held_out", []).append(row)
    return {
        name: {
            "num_queries": len(rows),
            **ranking_metrics([ranked[r] for r in rows], [relevant[r] for r in rows], ks=KS),
        }
        for name, rows in rows_of.items()
    }


def _examples(
    asked: list[Query], encodings: list[Encoding], ranked: list[list[str]]
) -> list[dict[str, Any]]:
    return [
        {
            "query_id": query.query_id,
            "text": query.text,
            "tier": query.tier,
            "held_out": query.held_out,
            "action": encoding.action,
            "gate_probability": encoding.gate_probability,
            "rationale": encoding.rationale,
            "summary": encoding.summary,
            "found": found,
            "relevant": query.relevant,
        }
        for query, encoding, found in zip(asked, encodings, ranked, strict=True)
    ]
