"""Counts and times of the service, as Prometheus reads them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from recall.search import Recall
from serving.errors import ANSWERS
from serving.replies import RecallReply

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class ServingMetrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.recall_answers = self._counter(
            "recall_answers", "Queries by what they ask about and how they ended.", "kind outcome"
        )
        self._recall_seconds = self._histogram(
            "recall_seconds",
            "Seconds to answer, by what a query asks about and what the gate chose.",
            "kind action",
        )
        self._stage_seconds = self._histogram(
            "recall_stage_seconds", "Seconds of each stage of an answer.", "stage"
        )
        self._actions = self._counter(
            "recall_actions",
            "Texts and images by version and what was done with them.",
            "version action",
        )
        self._fallbacks = self._counter(
            "recall_fallbacks",
            "Answers by why they are second best: `popular` instead of a user's own, `direct` "
            "instead of reasoned, `deadline` when that was the deadline's doing.",
            "reason",
        )
        self.recommend_answers = self._counter(
            "recommend_answers", "Requests for recommendations by how they ended.", "outcome"
        )
        self.recommend_seconds = self._histogram(
            "recommend_seconds", "Seconds to recommend, recall and ranking together."
        )
        self.rank_answers = self._counter(
            "rank_answers", "Requests to rank given items by how they ended.", "outcome"
        )
        self.rank_seconds = self._histogram("rank_seconds", "Seconds to rank given items.")
        self._batch_size = Histogram(
            "encoder_batch_size",
            "Texts and images that joined the model together.",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )

    def _counter(self, name: str, told: str, labels: str) -> Counter:
        return Counter(name, told, labels.split(), registry=self.registry)

    def _histogram(self, name: str, told: str, labels: str = "") -> Histogram:
        return Histogram(name, told, labels.split(), buckets=BUCKETS, registry=self.registry)

    def gauge(self, name: str, told: str, read: Callable[[], float]) -> None:
        """Tell a number that is read whenever metrics are."""
        Gauge(name, told, registry=self.registry).set_function(read)

    def watch(self, recall: Recall) -> None:
        """Tell of recall's encoder, and of the live version that it follows."""
        encoder = recall.encoder
        encoder.on_joined = self._batch_size.observe
        self.gauge("encoder_queue", "Texts and images that wait.", lambda: encoder.num_waiting)
        self.gauge("encoder_under_way", "Texts and images read.", lambda: encoder.num_under_way)
        self.gauge("encoder_stuck_seconds", "Of the present piece of work.", encoder.stuck_s)
        self.gauge(
            "live_version_age_seconds", "Since the live version was looked up.", recall.live.age_s
        )
        self.registry.register(_LiveVersion(recall))

    def observe(self, kind: str, reply: RecallReply, seconds: float) -> None:
        """Take in an answer.

        Args:
            kind: what the query asked about.
            reply: the answer.
            seconds: from the request to the answer.
        """
        self._recall_seconds.labels(kind, reply.action or "none").observe(seconds)
        for stage, stage_ms in reply.timings.items():
            self._stage_seconds.labels(stage).observe(stage_ms / 1000)
        if reply.action is not None:
            self._actions.labels(reply.version, reply.action).inc()
        if reply.fallback:
            self._fallbacks.labels("popular").inc()
        if reply.reasoning_fallback:
            self._fallbacks.labels("deadline" if reply.cut_short else "direct").inc()


class _LiveVersion(Collector):
    """The live version, as the label of a number that is always 1."""

    def __init__(self, recall: Recall) -> None:
        self._recall = recall

    def collect(self) -> Iterator[GaugeMetricFamily]:
        told = GaugeMetricFamily("live_version", "The version that answers.", labels=["version"])
        if self._recall.live.followed is not None:
            told.add_metric([self._recall.live.followed], 1)
        yield told


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
