"""Messages of items and events, and where a landing stands, for the tests of the consumer."""

import json

from kafka import TopicPartition

from catalog.kafka.config import KafkaConfig
from catalog.lake.tables import ITEMS

T1 = "2026-01-01T00:00:00Z"
HOUR_MS = 3_600_000
T1_MS = 1_767_225_600_000
ITEMS_0, ITEMS_1 = TopicPartition("items", 0), TopicPartition("items", 1)
EVENTS_0 = TopicPartition("events", 0)

CONFIG = KafkaConfig(bootstrap_servers="host-1:9092,host-2:9092")
SMALL = KafkaConfig(bootstrap_servers="host:9092", batch_records=2)


def item(item_id, **fields):
    return json.dumps({"item_id": item_id, "updated_at": T1} | fields).encode()


def event(event_id):
    fields = {"event_id": event_id, "user_id": "u", "item_id": "a", "action": "click", "ts": T1}
    return json.dumps(fields).encode()


def position(lake, partition=0):
    return lake.last_transaction(ITEMS, f"ponder/items/{partition}")
