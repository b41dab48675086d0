"""Which Kafka is read, by whom, and in batches of what size."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kafka.errors import KafkaError

from catalog.lake.tables import EVENTS, ITEMS, Table


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaConfig:
    """Which brokers and topics are read, and as which consumer group."""

    bootstrap_servers: str
    """Brokers to start from, e.g. "kafka-1:9092,kafka-2:9092"."""

    group_id: str = "ponder"
    """Consumers of one group share the partitions and one set of offsets."""

    item_topic: str = "items"
    event_topic: str = "events"

    batch_records: int = 20_000
    """Messages of a topic that are written at once; a poll more at most."""

    batch_bytes: int = 64_000_000
    """Keys and values that are written at once; a poll more at most. As much again waits while a
    write is under way, and a write holds about four times as much."""

    batch_age_s: float = 10.0
    """When following: a message waits at most so long, and a write more, before it is written."""

    api_version: tuple[int, ...] | None = None
    """Protocol version of old brokers, e.g. (2, 3); None negotiates it."""

    session_timeout_ms: int = 45_000
    """A consumer silent for so long loses its partitions to the others."""

    heartbeat_interval_ms: int = 3_000
    """At most a third of `session_timeout_ms`."""

    max_poll_records: int = 2_000
    """Messages taken from the client at once."""

    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Passed through to the client: security_protocol, sasl_mechanism, ssl_cafile... """

    isolation_level: str = "read_committed"
    """"read_uncommitted" reads records of aborted transactions too; brokers before Kafka 0.11 have
    nothing else."""

    def __post_init__(self) -> None:
        if self.item_topic == self.event_topic:
            raise ValueError(
                f"item_topic and event_topic must differ, got {self.item_topic!r} for both"
            )
        for name in ("batch_records", "batch_bytes", "batch_age_s", "max_poll_records"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 < 3 * self.heartbeat_interval_ms <= self.session_timeout_ms:
            raise ValueError(
                "heartbeat_interval_ms must be > 0 and at most a third of session_timeout_ms, got "
                f"{self.heartbeat_interval_ms} and {self.session_timeout_ms}"
            )

    def tables(self) -> dict[str, Table]:
        """Return the table that each topic is landed in."""
        return {self.item_topic: ITEMS, self.event_topic: EVENTS}

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments of the consumer."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "group_id": self.group_id,
            "api_version": self.api_version,
            "session_timeout_ms": self.session_timeout_ms,
            "heartbeat_interval_ms": self.heartbeat_interval_ms,
            "max_poll_records": self.max_poll_records,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "isolation_level": self.isolation_level,
            **self.security,
        }


@contextmanager
def broker_failures() -> Iterator[None]:
    """Turn what the client raises in here into an error that a person can act on.

    Raises:
        ConnectionError: the brokers do not answer, or refuse what was asked of them.
    """
    try:
        yield
    except KafkaError as error:
        raise ConnectionError(
            f"the Kafka brokers must answer, got {error}; see that they run, and what they and the "
            "security settings allow"
        ) from error
