"""Whether the lake agrees with itself and with its sources, by key and hash and not by count."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from kafka import KafkaConsumer

from catalog.kafka.config import KafkaConfig, broker_failures
from catalog.kafka.connection import connect
from catalog.kafka.offsets import LakeOffsets
from catalog.kafka.partition_offsets import groupless_options, read_partition_offsets
from catalog.lake.duplicates import duplicated_keys
from catalog.lake.embedding_failures import failed_embeddings
from catalog.lake.key_set import KeySet
from catalog.lake.lake import Lake
from catalog.lake.shown_media import shown_hashes
from catalog.lake.shrinks import lost_tables, unexplained_shrinks
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS, MEDIA, TABLES

NUM_FIRST = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that an audit looked for, and how much of it there is."""

    name: str
    """What is looked for, e.g. `dangling_media`; see docs/data.md."""

    where: str
    """The table, model version or topic that was looked at."""

    count: int

    first: tuple[str, ...]
    """The first ids, in order; at most five."""

    is_fault: bool = True
    """False for what is worth knowing while nothing is wrong."""

    def __add__(self, later: "Finding") -> "Finding":
        """Return both, of two parts of one place; the ids of `later` come after these."""
        first = (*self.first, *later.first)[:NUM_FIRST]
        return replace(self, count=self.count + later.count, first=first)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionProgress:
    """How far one partition has been landed, and what it holds."""

    topic: str
    partition: int

    landed: int | None
    """Offset of the first message not landed yet, by the lake's word; None when none ever was."""

    low: int
    """Oldest offset that the brokers still hold."""

    high: int
    """Offset that the next message will get."""

    @property
    def waiting(self) -> int:
        """Messages that the brokers hold and the lake does not, at most."""
        return max(self.high - max(self.landed or 0, self.low), 0)

    @property
    def expired(self) -> int:
        """Messages that the brokers deleted before they were landed, at most."""
        return max(self.low - self.landed, 0) if self.landed is not None else 0

    @property
    def ahead(self) -> int:
        """Messages that the lake has landed and the brokers never had: the log was replaced."""
        return max((self.landed or 0) - self.high, 0)


def found(name: str, where: str, rows: pl.DataFrame, *, is_fault: bool = True) -> Finding:
    """Return a finding of these rows, named by their columns."""
    ids = rows.select(pl.concat_str(pl.all().cast(pl.String), separator=" ")).to_series()
    first = tuple(ids.sort().head(NUM_FIRST))
    return Finding(name=name, where=where, count=rows.height, first=first, is_fault=is_fault)


def audit_lake(lake: Lake, *, model_version: str) -> list[Finding]:
    """Audit the lake by itself; findings of what is in order (count 0) are included.

    Args:
        lake: its tables.
        model_version: the version that is to have embedded every item.
    """
    duplicates = [
        found("duplicate_keys", table.name, duplicated_keys(lake.scan(table), table))
        for table in TABLES.values()
    ]
    return [
        *_audit_losses(lake),
        *duplicates,
        *_audit_media(lake),
        *_audit_embeddings(lake, model_version),
    ]


def orphaned_embeddings(lake: Lake) -> pl.DataFrame:
    """Return the keys of the embeddings whose item was never landed.

    Those of earlier contents and of deleted items are none: histories need them.
    """
    landed = KeySet.of(lake.scan(ITEMS), ["item_id"])
    return landed.absent(lake.scan(EMBEDDINGS).select(EMBEDDINGS.key))


@broker_failures()
def audit_sources(
    config: KafkaConfig, lake: Lake, *, consumer_factory: Callable[..., Any] = KafkaConsumer
) -> list[PartitionProgress]:
    """Compare the topics with the lake, partition by partition, by topic and number.

    Args:
        config: brokers, topics, and the group whose offsets the lake records.
        lake: with the offsets.
        consumer_factory: makes the consumer from keyword arguments.

    Raises:
        ConnectionError: the brokers do not answer, or refuse.
        TimeoutError: a partition does not.
    """
    landed = LakeOffsets(lake, config)
    consumer = connect(lambda: consumer_factory(**groupless_options(config)), config)
    assert consumer is not None  # nothing stops it
    try:
        held = read_partition_offsets(consumer, config.tables())
    finally:
        consumer.close(autocommit=False)
    return [
        PartitionProgress(
            topic=at.topic,
            partition=at.partition,
            landed=landed.committed(at),
            low=offsets.low,
            high=offsets.high,
        )
        for at, offsets in sorted(held.items())
    ]


def source_findings(partitions: list[PartitionProgress]) -> list[Finding]:
    """Check offsets: lost messages and replaced logs are faults, waiting messages are not."""
    return [
        Finding(
            name=f"source_{what}",
            where=f"{at.topic}/{at.partition}",
            count=getattr(at, what),
            first=(f"offset {first}",) if getattr(at, what) else (),
            is_fault=what != "waiting",
        )
        for at in partitions
        for what, first in (
            ("waiting", max(at.landed or 0, at.low)),
            ("expired", at.landed),
            ("ahead", at.high),
        )
    ]


def _audit_losses(lake: Lake) -> list[Finding]:
    shrinks = [(table.name, unexplained_shrinks(lake, table)) for table in TABLES.values()]
    lost = lost_tables(lake)
    return [
        *(
            Finding(
                name="table_shrank",
                where=name,
                count=sum(each.num_lost for each in found),
                first=tuple(
                    f"commit {each.version} {each.operation} {each.at:%Y-%m-%dT%H:%M}Z"
                    for each in found[:NUM_FIRST]
                ),
            )
            for name, found in shrinks
        ),
        *(
            Finding(name="table_lost", where=name, count=len(made), first=made)
            for name, made in lost.items()
        ),
    ]


def _audit_media(lake: Lake) -> list[Finding]:
    shown = shown_hashes(lake.scan(ITEMS))
    media = lake.scan(MEDIA).select("hash")
    there, wanted = (KeySet.of(rows, ["hash"]) for rows in (media, shown))
    dangling = there.absent(shown).select("item_id").unique()
    return [
        found("dangling_media", "items", dangling),
        # What an item shows no longer stays behind; `ponder lake vacuum --media` takes it.
        found("unreferenced_media", "media", wanted.absent(media), is_fault=False),
    ]


def _audit_embeddings(lake: Lake, version: str) -> list[Finding]:
    key = ["item_id", "content_hash"]
    embedded = lake.scan(EMBEDDINGS).filter(pl.col("model_version") == version).select(key)
    living = lake.scan(ITEMS).filter(~pl.col("deleted")).select(key)
    absent = KeySet.of(embedded, key).absent(living)
    failed = failed_embeddings(lake.scan(DEAD_LETTERS), model_version=version)
    to_embed = absent.join(failed, on=key, how="anti")
    earlier = KeySet.of(to_embed.lazy(), ["item_id"]).present(embedded)
    ids = to_embed.select("item_id")
    return [
        found("missing_embeddings", version, ids.join(earlier, on="item_id", how="anti")),
        found("stale_embeddings", version, ids.join(earlier, on="item_id", how="semi")),
        found(
            "failed_embeddings",
            version,
            absent.join(failed, on=key, how="semi").select("item_id"),
            is_fault=False,
        ),
        found("orphaned_embeddings", "embeddings", orphaned_embeddings(lake)),
    ]
