"""An honest account of reasoning: what reasoning gains, what it costs, whether it is read at all.

Every input is embedded twice, without and with reasoning, and everything below is read off these
vectors; nothing is encoded again for another theta. Peers who looked found that vectors may hardly
depend on the rationale (cosine 0.95 to 0.98 between any two, UME-R1 issue 12) and that direct and
reasoned vectors may not meet in one space (UME-R1 issue 1): `sensitivity` and `pairings` ask both.

Shape legend: Q = queries, N = items, D = embedding dimension
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from embedder.reasoners.paired_encodings import PairedEncodings
from embedder.reasoners.reasoner import Rationale
from evaluation.bootstrap import Interval, bootstrap_gains, bootstrap_mean
from evaluation.metrics import Scores, means
from evaluation.query_sets import METRICS, QuerySet, slices

THETAS = np.linspace(0, 1.05, 22).round(6).tolist()  # beyond 1 nobody reasons

EvaluatePair = Callable[[np.ndarray, np.ndarray], Scores]
"""Scores of [Q, D] query vectors over [N, D] item vectors."""

Evaluate = Callable[[np.ndarray], Scores]
"""Scores of [Q, D] query vectors."""

Read = Callable[[Sequence[Rationale]], np.ndarray]
"""[N, D] vectors of fixed contents, each with the rationale given for it."""


Metrics = dict[str, float]
"""Metric -> its mean over queries."""

Gains = dict[str, Interval]
"""Metric -> a difference, with the interval that holds 95 % of 1,000 resamples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """What a gate with one theta makes of the queries, and of both sides."""

    theta: float

    query_rate: float
    """Share of the queries that is reasoned about, in [0, 1]."""

    item_rate: float
    """Share of the items that is reasoned about, in [0, 1]."""

    queries: Metrics
    """Gated queries over direct items, as a service asks a catalogue embedded without reasoning."""

    coin: Metrics
    """The same with a coin that picks as many queries."""

    both: Metrics
    """Gated queries over gated items."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What reasoning about one side costs, by input, and how often policy `auto` pays it."""

    reason_rate: float
    tokens_auto: float
    tokens_always: float
    ms_never: float
    ms_always: float

    fallback_rate: float
    """Share of the inputs that were to be reasoned about and were not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What reasoning does to retrieval, and what it costs."""

    num_queries: int
    num_items: int

    chance: float
    """The hit@1 of a blind guess."""

    theta: float
    """Of the version; policy `auto` reasons from this probability on."""

    policies: dict[str, dict[str, Metrics]]
    """never, auto, always on both sides -> slice -> metrics."""

    gain: dict[str, dict[str, Gains]]
    """Side that reasons (query, item, both) -> slice -> what it has over never."""

    pairings: dict[str, Metrics]
    """Query mode x item mode -> metrics."""

    curve: list[CurvePoint]
    """By theta."""

    oracle: Metrics
    """Of the better mode of each query over direct items, chosen with hindsight."""

    cost: dict[str, Cost]
    """query, item -> cost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """How much a reasoned vector depends on its rationale."""

    num_same: int
    """Contents whose other rationale happened to read the same as their own; not in right/other."""

    cosine: dict[str, Interval]
    """right/other, right/summary, right/empty, right/direct -> mean cosine, with its interval."""

    metrics: dict[str, Metrics] | None
    """Rationale (right, other, summary, empty, direct) -> metrics; None where nothing was asked."""

    over_empty: Gains | None
    """What the right rationale has over an empty one; None where nothing was asked."""


def account(
    query_set: QuerySet,
    queries: PairedEncodings,
    items: PairedEncodings,
    *,
    theta: float,
    seed: int = 0,
) -> Account:
    """Return what reasoning does to retrieval, and what it costs.

    Args:
        query_set: what is asked and what is right.
        queries: its queries in both modes.
        items: its items in both modes.
        theta: of the version; policy `auto` reasons from this probability on.
        seed: of the bootstrap over queries.
    """
    evaluate = query_set.evaluate
    pairings = {
        "direct x direct": evaluate(queries.direct_ND, items.direct_ND),
        "direct x reason": evaluate(queries.direct_ND, items.reasoned_ND),
        "reason x direct": evaluate(queries.reasoned_ND, items.direct_ND),
        "reason x reason": evaluate(queries.reasoned_ND, items.reasoned_ND),
    }
    never, always = pairings["direct x direct"], pairings["reason x reason"]
    policies = {
        "never": never,
        "auto": evaluate(queries.vectors("auto", theta=theta), items.vectors("auto", theta=theta)),
        "always": always,
    }
    rows_of = slices(query_set.queries)
    reasoning = {
        "query": pairings["reason x direct"],
        "item": pairings["direct x reason"],
        "both": always,
    }
    curve, oracle = _gate_account(evaluate, queries, items, theta=theta)
    return Account(
        num_queries=len(query_set.queries),
        num_items=len(query_set.item_ids),
        chance=query_set.chance,
        theta=theta,
        policies={name: _by_slice(scores, rows_of) for name, scores in policies.items()},
        gain={
            side: {
                name: bootstrap_gains(scores, never, rows, seed=seed)
                for name, rows in rows_of.items()
            }
            for side, scores in reasoning.items()
        },
        pairings={name: means(scores) for name, scores in pairings.items()},
        curve=curve,
        oracle=oracle,
        cost={"query": _cost(queries, theta), "item": _cost(items, theta)},
    )


def _gate_account(
    evaluate: EvaluatePair,
    queries: PairedEncodings,
    items: PairedEncodings,
    *,
    theta: float,
) -> tuple[list[CurvePoint], Metrics]:
    """How much better the gate chooses than a coin, and how much better it could.

    The curve's first part gates queries over direct items, as a service does over a catalogue that
    was embedded without reasoning; its second gates both sides. A coin that picks as many queries
    gets the mean of both modes, weighted by the share; the oracle gets the better one each time.
    """
    direct = evaluate(queries.direct_ND, items.direct_ND)
    reasoned = evaluate(queries.reasoned_ND, items.direct_ND)
    curve = []
    for at in sorted({*THETAS, theta}):
        picks = queries.reasons("auto", theta=at)
        gated = {name: np.where(picks, reasoned[name], direct[name]) for name in METRICS}
        coin = {
            name: picks.mean() * reasoned[name] + (1 - picks.mean()) * direct[name]
            for name in METRICS
        }
        curve.append(
            CurvePoint(
                theta=at,
                query_rate=float(picks.mean()),
                item_rate=float(items.reasons("auto", theta=at).mean()),
                queries=means(gated),
                coin=means(coin),
                both=means(
                    evaluate(queries.vectors("auto", theta=at), items.vectors("auto", theta=at))
                ),
            )
        )
    oracle = {name: np.maximum(direct[name], reasoned[name]) for name in METRICS}
    return curve, means(oracle)


def sensitivity(
    modes: PairedEncodings,
    read: Read,
    *,
    seed: int = 0,
    evaluate: Evaluate | None = None,
) -> Sensitivity:
    """Measure how much a reasoned vector depends on its rationale.

    Each content is embedded with its own rationale, with that of another content, with its own
    summary alone, and with an empty one. If reasoning mattered little, all would lie together.

    Args:
        modes: the contents in both modes.
        read: embeds them with rationales of one's choice.
        seed: decides whose rationale each one gets.
        evaluate: scores the vectors as queries; None: only cosines are given.
    """
    own = modes.rationales
    others = [own[row] for row in _deranged(len(own), seed)]
    vectors = {
        "right": read(own),
        "other": read(others),
        "summary": read([Rationale("", rationale.summary) for rationale in own]),
        "empty": read([Rationale("") for _ in own]),
        "direct": modes.direct_ND,
    }
    differs = np.array(
        [(a.text, a.summary) != (b.text, b.summary) for a, b in zip(own, others, strict=True)]
    )
    cosines = {
        f"right/{name}": (vectors["right"] * vectors[name]).sum(axis=1)
        for name in ("other", "summary", "empty", "direct")
    }
    if differs.any():
        cosines["right/other"] = cosines["right/other"][differs]
    metrics = over_empty = None
    if evaluate is not None:
        scores = {name: evaluate(given) for name, given in vectors.items()}
        metrics = {name: means(values) for name, values in scores.items()}
        over_empty = bootstrap_gains(scores["right"], scores["empty"], seed=seed)
    return Sensitivity(
        num_same=int((~differs).sum()),
        cosine={name: bootstrap_mean(values, seed=seed) for name, values in cosines.items()},
        metrics=metrics,
        over_empty=over_empty,
    )


def _by_slice(scores: Scores, rows_of: dict[str, np.ndarray]) -> dict[str, Metrics]:
    return {name: means(scores, rows) for name, rows in rows_of.items()}


def _cost(modes: PairedEncodings, theta: float) -> Cost:
    num = len(modes.gate_N)
    picked = modes.reasons("auto", theta=theta)
    return Cost(
        reason_rate=float(picked.mean()),
        tokens_auto=float(modes.tokens_N[picked].sum() / num),
        tokens_always=float(modes.tokens_N.mean()),
        ms_never=1000 * modes.direct_s / num,
        ms_always=1000 * modes.reasoned_s / num,
        fallback_rate=modes.num_fallbacks / num,
    )


def _deranged(num: int, seed: int) -> np.ndarray:
    """A permutation in which nobody keeps their place; with a single one there is no other."""
    order = np.random.default_rng(seed).permutation(num)
    deranged = np.empty(num, dtype=np.int64)
    deranged[order] = np.roll(order, 1)
    return deranged
