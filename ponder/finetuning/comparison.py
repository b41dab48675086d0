"""A candidate against the champion, query by query, on one frozen evaluation set.

Shape legend: Q = queries, N = items, D = embedding dimension
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedder.content import Policy
from evaluation.bootstrap import bootstrap_gains
from evaluation.metrics import Scores, means
from evaluation.query_sets import slices
from ponder.finetuning.frozen_set import FrozenSet
from ponder.finetuning.results import Comparison, VersionScores
from ponder.json_form import json_form

if TYPE_CHECKING:
    from embedder.mmemb_r1 import MMEmbR1
    from embedder.reasoners.paired_encodings import PairedEncodings

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What one version makes of a set."""

    queries: "PairedEncodings"
    item_vectors_ND: np.ndarray
    picks_Q: np.ndarray
    """Whether each query is reasoned about under the deployment's policy."""

    scores: Scores
    """Under that policy."""


def compare(
    frozen: FrozenSet,
    candidate: "MMEmbR1",
    champion: "MMEmbR1",
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
    from ponder.reports.reasoning.account import sensitivity

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
        sensitivity=json_form(
            sensitivity(
                challenger.queries,
                _reader(frozen, candidate),
                evaluate=lambda vectors_QD: frozen.evaluate(vectors_QD, challenger.item_vectors_ND),
                seed=seed,
            )
        ),
    )


def _measured(
    frozen: FrozenSet, encoder: "MMEmbR1", policy: Policy, progress: Progress
) -> Measured:
    from embedder.reasoners.paired_encodings import paired_encodings

    asked = frozen.query_contents
    queries = paired_encodings(lambda mode: encoder.encode_query(asked, policy=mode))
    progress(len(asked))
    items = encoder.encode_items(list(frozen.contents.values()), policy=policy, progress=progress)
    item_vectors_ND = np.stack([item.vector for item in items])
    theta = encoder.checkpoint.manifest.theta
    scores = frozen.evaluate(queries.vectors(policy, theta=theta), item_vectors_ND)
    return Measured(queries, item_vectors_ND, queries.reasons(policy, theta=theta), scores)


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
