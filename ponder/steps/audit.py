"""Whether sources, lake, embeddings and index agree, and what can be done where they do not."""

import logging
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import polars as pl

from catalog.audit import Finding, audit_lake, found, orphaned_embeddings
from catalog.lake.duplicates import merge_duplicates
from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import living_items
from catalog.lake.living_parts import LivingPart
from catalog.lake.tables import EMBEDDINGS, TABLES
from ponder.settings import Settings
from ponder.steps.embed import embed, plan
from ponder.steps.index import remove_deleted, sync_collection
from ponder.telemetry.observation import observed
from ponder.telemetry.step_metrics import StepMetrics
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import kafka_config, open_index, open_lake, open_search
from ponder.wiring.vectors import deleted_items, index_parts

if TYPE_CHECKING:
    from recall.vector_search import VectorSearch

ADVICE = {
    "nothing_live": "serve a version: `ponder index`, then `ponder promote`, or let a night run",
    "table_shrank": "look at `ponder lake history TABLE` for who did it, and bring the rows back: "
    "`ponder restore table TABLE --to COMMIT`; if they were meant to go, "
    "`ponder lake accept TABLE --reason WHY`",
    "table_lost": "see that the lake's address is right, and bring the table's folder back; else "
    "land everything again",
    "dangling_media": "land the items again: `ponder land --data DIR`, or `ponder backfill`",
    "source_expired": "ask the sources to send it again, or land it from files",
    "source_ahead": "the topic was made anew: `ponder land` starts it over",
    "index_doubled": "drop the collection and run `ponder index`",
}
"""What a person can do about the faults that a repair cannot mend."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found."""

    findings: list[Finding]
    """Everything that was looked for, also where it is in order."""

    @property
    def faults(self) -> list[Finding]:
        """Where two places differ that should agree."""
        return [each for each in self.findings if each.count and each.is_fault]

    @property
    def notes(self) -> list[Finding]:
        """What is worth knowing while nothing is wrong."""
        return [each for each in self.findings if each.count and not each.is_fault]


def _count(metrics: StepMetrics, audit: Audit) -> None:
    faults: Counter[str] = Counter()
    for each in audit.findings:
        if each.is_fault:
            faults[each.name] += each.count
    metrics.auditing.tell(faults)


@observed("audit", count=_count)
def audit(settings: Settings) -> Audit:
    """Compare the topics (where brokers are set), the lake and the index.

    The index is compared for the configured version and for the live one. The other collections, to
    which a rollback or a promotion may lead, must hold no deleted item.
    """
    lake, version = open_lake(settings), configured_version(settings)
    findings = [*_audit_sources(settings, lake), *audit_lake(lake, model_version=version)]
    with open_search(settings) as index:
        index.refresh()
        findings.append(_audit_live(index, lake))
        compared = _compared_versions(index, version)
        for each in compared:
            findings += _audit_index(index, each, lake)
        # Exact search has no collections: what the lake has deleted, it finds in no version.
        others = [] if settings.is_embedded else sorted(set(index.versions()) - set(compared))
        for each in others:
            kept = index.held(each, deleted_items(lake))
            findings.append(found("index_orphaned", each, kept.to_frame()))
    logger.info("audited looked_for=%d", len(findings))
    return Audit(findings=findings)


class RepairRefused(ValueError):
    """A repair would drop so much that the fault is likely to lie elsewhere."""


def repair(settings: Settings, audit: Audit, *, max_delete_share: float = 0.1) -> dict[str, int]:
    """Mend an audit's faults; return what was done by name, without what could not be mended.

    In the order of the data: rows stored twice are made one, orphaned embeddings dropped, missing
    ones made, and then the index is synced.

    Args:
        settings: the deployment.
        audit: what was found in it.
        max_delete_share: of the embeddings, the largest share that may be dropped as orphans.

    Raises:
        RepairRefused: there are more; nothing was changed. Embeddings without an item are few where
            they are a fault of their own, and all where the items are lost.
    """
    _refuse_many_orphans(open_lake(settings), audit, max_delete_share)
    mends: dict[str, Callable[[], int]] = {
        "duplicate_keys": lambda: _merge_duplicates(open_lake(settings)),
        "orphaned_embeddings": lambda: _drop_orphans(open_lake(settings)),
        "missing_embeddings": lambda: _embed_missing(settings),
        "stale_embeddings": lambda: _embed_missing(settings),
    }
    names = {fault.name for fault in audit.faults}
    done = {name: mend() for name, mend in mends.items() if name in names}
    if names & {"index_missing", "index_stale", "index_orphaned", *mends}:
        done["index"] = _sync(settings)
    return done


class Disagreement(ValueError):
    """An audit found faults; the text has a line for each, and what to do."""


def audit_or_fail(settings: Settings) -> Audit:
    """Audit, for whoever is only to go on where nothing is wrong.

    Raises:
        Disagreement: there are faults.
    """
    result = audit(settings)
    if result.faults:
        found = [f"{each.name} {each.where} {each.count}" for each in result.faults]
        raise Disagreement("\n".join([*found, *advice(result)]))
    return result


def advice(audit: Audit) -> list[str]:
    """Return what a person can do about the faults that are left."""
    return [ADVICE[name] for name in dict.fromkeys(f.name for f in audit.faults) if name in ADVICE]


def _audit_sources(settings: Settings, lake: Lake) -> list[Finding]:
    if not settings.kafka:
        return []
    from catalog.audit import audit_sources, source_findings

    return source_findings(audit_sources(kafka_config(settings), lake))


def _audit_live(index: "VectorSearch", lake: Lake) -> Finding:
    """Look for items that nobody can find, for no version answers queries."""
    items = living_items(lake).select("item_id")
    if index.live_version() is not None:
        items = items.head(0)
    return found("nothing_live", "index", items.collect())


def _compared_versions(index: "VectorSearch", configured: str) -> list[str]:
    return list(dict.fromkeys(filter(None, (configured, index.live_version()))))


def _audit_index(index: "VectorSearch", version: str, lake: Lake) -> list[Finding]:
    """Compare what is searched of a version with the lake, a range of ids at a time."""
    living = index_parts(lake, index, version, with_vectors=False)
    parts = [_differences(part, version) for part in living]
    return [reduce(add, findings) for findings in zip(*parts, strict=True)]


def _differences(part: LivingPart, version: str) -> list[Finding]:
    from recall.placement import HASH_DIGITS
    from recall.rows import metadata_rows
    from recall.vector_search import KEYS

    # In an index the hash tells as well where the row lies, which is the index's own affair.
    present = part.held.with_columns(pl.col("row_hash").str.head(HASH_DIGITS))
    once = part.rows.unique("item_id", keep="first", maintain_order=True)
    wanted = metadata_rows(once).select(KEYS.names())
    known = wanted.join(present, on="item_id", how="semi")
    same = known.join(present, on=["item_id", "content_hash", "row_hash"], how="semi")
    ids = {
        "index_missing": wanted.join(present, on="item_id", how="anti"),
        "index_orphaned": present.join(wanted, on="item_id", how="anti"),
        "index_stale": known.join(same, on="item_id", how="anti"),
        "index_doubled": present.filter(pl.col("item_id").is_duplicated()).unique("item_id"),
    }
    return [found(name, version, rows.select("item_id")) for name, rows in ids.items()]


def _merge_duplicates(lake: Lake) -> int:
    return sum(merge_duplicates(lake, table) for table in TABLES.values())


def _refuse_many_orphans(lake: Lake, audit: Audit, max_delete_share: float) -> None:
    orphans = sum(each.count for each in audit.faults if each.name == "orphaned_embeddings")
    if not orphans:
        return
    stored = lake.scan(EMBEDDINGS).select(pl.len()).collect().item()
    if orphans > max_delete_share * stored:
        raise RepairRefused(
            f"a repair must drop at most {max_delete_share:.0%} of the embeddings, and {orphans} "
            f"of {stored} have no item; nothing was changed. See that the table `items` is whole; "
            "if the items are truly gone, give a larger --max-delete-share"
        )


def _drop_orphans(lake: Lake) -> int:
    return lake.delete(EMBEDDINGS, orphaned_embeddings(lake))


def _embed_missing(settings: Settings) -> int:
    return sum(embed(settings, shard).embedded for shard in plan(settings).shards)


def _sync(settings: Settings) -> int:
    lake = open_lake(settings)
    if settings.is_embedded:  # exact search writes its files again from the lake
        shutil.rmtree(settings.vectors_folder, ignore_errors=True)
    with open_index(settings) as index:
        changed = sum(remove_deleted(lake, index).values())
        for version in _compared_versions(index, configured_version(settings)):
            if report := sync_collection(lake, index, version):
                changed += report.upserted + report.deleted
    return changed
