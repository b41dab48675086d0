"""Counts and times of the service, as Prometheus reads them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.errors import ANSWERS

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ServingMetrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.recall_answers = Counter(
            "recall_answers",
            "Queries by what they ask about and how they ended.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self.recall_seconds = Histogram(
            "recall_seconds",
            "Seconds to answer, by what a query asks about and what the gate chose.",
            ("kind", "action"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.recommend_answers = Counter(
            "recommend_answers",
            "Requests for recommendations by how they ended.",
            ("outcome",),
            registry=self.registry,
        )
        self.recommend_seconds = Histogram(
            "recommend_seconds",
            "Seconds to recommend, recall and ranking together.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.rank_answers = Counter(
            "rank_answers",
            "Requests to rank given items by how they ended.",
            ("outcome",),
            registry=self.registry,
        )
        self.rank_seconds = Histogram(
            "rank_seconds",
            "Seconds to rank given items.",
            buckets=BUCKETS,
            registry=self.registry,
        )


@contextmanager
def counted(answers: Counter, *labels: str) -> Iterator[None]:
    """Count how the block ends, as the last label."""
    outcome = "error"
    try:
        yield
        outcome = "ok"
    except tuple(ANSWERS) as error:
        outcome = next(answer.name for kind, answer in ANSWERS.items() if isinstance(error, kind))
        raise
    finally:
        answers.labels(*labels, outcome).inc()


@contextmanager
def timed(seconds: Histogram) -> Iterator[None]:
    """Observe how long the block takes, unless it fails."""
    started = time.perf_counter()
    yield
    seconds.observe(time.perf_counter() - started)
