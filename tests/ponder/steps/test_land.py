"""Tests for ponder/steps/land.py: what a landing from the topics says as JSON."""

from collections import Counter

from catalog.ingest.report import LandingReport
from catalog.kafka.metrics import ConsumerReport, PartitionLag
from catalog.lake.upsert import UpsertCounts
from ponder.json_form import json_form
from ponder.steps.land import KafkaLanding


def test_a_landing_from_the_topics_has_the_counts_beside_where_it_stands():
    landed = LandingReport(
        consumed=7,
        items=UpsertCounts(inserted=4),
        events=2,
        rejected=Counter({"decode: not JSON": 1}),
    )
    lag = PartitionLag(topic="items", partition=1, position=5, high_water=8)
    report = ConsumerReport(landed=landed, partitions=(lag,), elapsed_s=2.00049)
    assert json_form(KafkaLanding.of(report)) == {
        "consumed": 7,
        "items": {"inserted": 4, "updated": 0, "deleted": 0, "unchanged": 0, "stale": 0},
        "events": 2,
        "known_events": 0,
        "images": 0,
        "dead_letters": 0,
        "rejected": {"decode: not JSON": 1},
        "missed": 0,
        "restarted": 0,
        "elapsed_s": 2.0,
        "messages_per_s": 3.5,
        "partitions": [
            {"topic": "items", "partition": 1, "position": 5, "high_water": 8, "lag": 3}
        ],
    }
