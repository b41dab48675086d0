"""What a model does with every test question: its rank directly, by its own rationale, by ours.

Shape legend: Q = questions, N = candidates, D = embedding dimension
"""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.reasoning_variants import Asking
from bench.reasoning_world import World
from catalog.bazaar.rationales import right_rationale
from embedder.content import Content, Encoding, Policy, reasons
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint
from embedder.reasoners.given_rationales import encode_with_rationales
from embedder.reasoners.reasoner import Rationale

NUM_TIMED = 3
POLICIES: tuple[Policy, ...] = ("never", "auto", "always")

Outcome = Mapping[str, Any]
"""Of one question: tier, query, wanted; gate (probability of `reason`), rank_direct, rank_reasoned
and rank_given (of the first candidate that fits, from 1), rationale, summary, right_rationale,
right_summary, tokens.
Where items reason too, rank_direct_reason and rank_reason_reason: of direct and reasoned queries
among reasoned items."""


def outcomes(
    checkpoint: Checkpoint, world: World, *, items_reason: bool = False
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return an outcome for every question, and the seconds that all of them take by policy.

    Seconds are the best of three rounds in which policies alternate.

    Args:
        checkpoint: of the version that is asked.
        world: its questions and its items, which are embedded directly.
        items_reason: whether the items are reasoned about as well, and ranked once more.
    """
    encoder = MMEmbR1(
        checkpoint, EmbedderConfig(policy="never", device=str(checkpoint.backbone.device))
    )
    items_ND = np.stack([one.vector for one in encoder.encode_items(world.items)])
    questions = [riddle.question for riddle in world.questions]
    contents = [Content(question.text) for question in questions]
    rng = random.Random("given")
    encodings, seconds = _timed(encoder, contents)
    given_QD = encode_with_rationales(
        checkpoint,
        contents,
        [Rationale(right_rationale(q, rng), q.summary) for q in questions],
        side="query",
    )
    fits_QN = np.array([[q.fits(product) for product in world.products] for q in questions])
    direct, reasoned = encodings["never"], encodings["always"]
    ranks = {
        "rank_direct": first_ranks(_vectors(direct) @ items_ND.T, fits_QN),
        "rank_reasoned": first_ranks(_vectors(reasoned) @ items_ND.T, fits_QN),
        "rank_given": first_ranks(given_QD @ items_ND.T, fits_QN),
    }
    if items_reason:
        reasoned_ND = _vectors(encoder.encode_items(world.items, policy="always"))
        for name, asked in (("direct", direct), ("reason", reasoned)):
            ranks[f"rank_{name}_reason"] = first_ranks(_vectors(asked) @ reasoned_ND.T, fits_QN)
    found = [
        {
            "tier": question.tier,
            "query": question.text,
            "gate": one.gate_probability,
            "rationale": one.rationale,
            "summary": one.summary,
            "right_rationale": question.rationale,
            "right_summary": question.summary,
            "tokens": one.rationale_tokens,
            **{name: int(rank_Q[number]) for name, rank_Q in ranks.items()},
        }
        for number, (question, one) in enumerate(zip(questions, reasoned, strict=True))
    ]
    return found, seconds


def _timed(
    encoder: MMEmbR1, contents: Sequence[Content]
) -> tuple[dict[Policy, list[Encoding]], dict[str, float]]:
    encodings: dict[Policy, list[Encoding]] = {}
    seconds = dict.fromkeys(POLICIES, float("inf"))
    for _ in range(NUM_TIMED):
        for policy in POLICIES:
            started = time.perf_counter()
            encodings[policy] = encoder.encode_query(contents, policy=policy)
            seconds[policy] = min(seconds[policy], time.perf_counter() - started)
    return encodings, {policy: round(value, 3) for policy, value in seconds.items()}


def _vectors(encodings: Sequence[Encoding]) -> np.ndarray:
    return np.stack([one.vector for one in encodings])


def first_ranks(scores_QN: np.ndarray, fits_QN: np.ndarray) -> np.ndarray:
    """Return [Q] the rank, from 1, of the first candidate that fits; ties in the order of N."""
    order_QN = np.argsort(-scores_QN, axis=1, kind="stable")
    return np.take_along_axis(fits_QN, order_QN, axis=1).argmax(axis=1) + 1


def is_reasoned(outcome: Outcome, asking: Asking, *, theta: float) -> bool:
    """Return whether the question is reasoned about when it is asked in this way."""
    if asking == "auto":
        return reasons(outcome["gate"], policy="auto", theta=theta)
    if asking == "better":
        return outcome["rank_reasoned"] < outcome["rank_direct"]
    return asking != "direct"


def rank(outcome: Outcome, asking: Asking, *, theta: float) -> int:
    """Return the rank that the question's answer gets when it is asked in this way."""
    if asking == "given":
        return outcome["rank_given"]
    if asking == "both":
        return outcome["rank_reason_reason"]
    return outcome["rank_reasoned" if is_reasoned(outcome, asking, theta=theta) else "rank_direct"]
