"""A candidate against the champion, query by query, on one frozen evaluation set.

Shape legend: Q = queries, N = items, D = embedding dimension
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.content import Answer, Encoding, Policy
from evaluation.bootstrap import bootstrap_gains
from evaluation.metrics import Scores, means
from evaluation.query_sets import slices
from ponder.finetuning.frozen_set import FrozenSet
from ponder.finetuning.results import Comparison, VersionScores
from ponder.json_form import json_form

if TYPE_CHECKING:
    from embedder.content import CatalogueEncoder
    from embedder.mmemb_r1 import MMEmbR1
    from embedder.reasoners.paired_encodings import PairedEncodings

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What one version makes of a set."""

    queries: "PairedEncodings | None"
    """In both modes; None of a version that never reasons."""

    item_vectors_ND: np.ndarray
    picks_Q: np.ndarray
    """Whether each query is reasoned about under the deployment's policy."""

    scores: Scores
    """Under that policy."""


def compare(
    frozen: FrozenSet,
    candidate: "CatalogueEncoder",
    champion: "CatalogueEncoder",
    *,
    policy: Policy,
    seed: int = 0,
    progress: Progress = lambda done: None,
) -> Comparison:
    """Measure how much better the candidate finds what was asked for, as the deployment uses it.

    Args:
        frozen: what is asked and what is right.
        candidate: the new version.
        champion: the one in service.
        policy: of the deployment, for items and queries.
        seed: of the bootstrap over queries, and of whose rationale is exchanged with whose.
        progress: told how many more contents were embedded.
    """
    challenger = _measured(frozen, candidate, policy, progress)
    incumbent = _measured(frozen, champion, policy, progress)
    rows_of = slices(frozen.queries)
    return Comparison(
        digest=frozen.digest,
        num_queries=len(frozen.queries),
        num_items=len(frozen.contents),
        candidate=_described(challenger, candidate.version, rows_of),
        champion=_described(incumbent, champion.version, rows_of),
        gain={
            name: bootstrap_gains(challenger.scores, incumbent.scores, rows, seed=seed)
            for name, rows in rows_of.items()
        },
        sensitivity=_sensitivity(frozen, candidate, challenger, seed=seed),
    )


def _sensitivity(
    frozen: FrozenSet, candidate: "CatalogueEncoder", measured: Measured, *, seed: int
) -> dict[str, Any]:
    """Return how much reasoned queries depend on their rationales; empty where none reason."""
    from embedder.mmemb_r1 import MMEmbR1
    from ponder.reports.reasoning.account import sensitivity

    if measured.queries is None or not isinstance(candidate, MMEmbR1):
        return {}
    found: dict[str, Any] = json_form(
        sensitivity(
            measured.queries,
            _reader(frozen, candidate),
            evaluate=lambda vectors_QD: frozen.evaluate(vectors_QD, measured.item_vectors_ND),
            seed=seed,
        )
    )
    return found


def _measured(
    frozen: FrozenSet, encoder: "CatalogueEncoder", policy: Policy, progress: Progress
) -> Measured:
    from embedder.mmemb_r1 import MMEmbR1
    from embedder.reasoners.paired_encodings import paired_encodings

    if not isinstance(encoder, MMEmbR1):
        return _measured_directly(frozen, encoder, progress)
    asked = frozen.query_contents
    queries = paired_encodings(lambda mode: encoder.encode_query(asked, policy=mode))
    progress(len(asked))
    items = encoder.encode_items(list(frozen.contents.values()), policy=policy, progress=progress)
    item_vectors_ND = np.stack([item.vector for item in items])
    theta = encoder.checkpoint.manifest.theta
    scores = frozen.evaluate(queries.vectors(policy, theta=theta), item_vectors_ND)
    return Measured(queries, item_vectors_ND, queries.reasons(policy, theta=theta), scores)


def _measured_directly(
    frozen: FrozenSet, encoder: "CatalogueEncoder", progress: Progress
) -> Measured:
    """Measure a version that never reasons; what it cannot read it does not find."""
    contents = list(frozen.contents.values())
    asked, items = (
        list(encode(given))
        for encode, given in (
            (encoder.stream_queries, frozen.query_contents),
            (encoder.stream_items, contents),
        )
    )
    progress(len(asked) + len(items))
    queries_QD, items_ND = (_vectors(answers, encoder.dim) for answers in (asked, items))
    picks_Q = np.zeros(len(queries_QD), dtype=bool)
    return Measured(None, items_ND, picks_Q, frozen.evaluate(queries_QD, items_ND))


def _vectors(answers: list[tuple[int, Answer]], dim: int) -> np.ndarray:
    """Return [N, D] the vectors in order, zeros where there is none."""
    vectors_ND = np.zeros((len(answers), dim), np.float32)
    for number, answer in answers:
        if isinstance(answer, Encoding):
            vectors_ND[number] = answer.vector
    return vectors_ND


def _reader(frozen: FrozenSet, encoder: "MMEmbR1") -> Callable[..., np.ndarray]:
    """Return a function that encodes the set's queries with rationales of one's choice."""
    from functools import partial

    from embedder.reasoners.given_rationales import encode_with_rationales

    asked = frozen.query_contents
    return partial(encode_with_rationales, encoder.checkpoint, asked, side="query")


def _described(measured: Measured, version: str, rows_of: dict[str, np.ndarray]) -> VersionScores:
    return VersionScores(
        version=version,
        reason_rate=float(measured.picks_Q.mean()),
        metrics={name: means(measured.scores, rows) for name, rows in rows_of.items()},
    )
