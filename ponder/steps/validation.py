"""Validate a version's collection by what users ask, and keep with the version what was found."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from catalog.lake.index_versions import IndexVersion, IndexVersions
from catalog.lake.key_set import KeySet
from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import KEYS, embeddings_of, living_items
from catalog.lake.shown_media import read_media
from catalog.lake.tables import EVENTS, ITEMS
from ponder.json_form import json_form, to_json
from ponder.settings import Settings
from ponder.telemetry.identity import identify
from ponder.telemetry.observation import observed
from ponder.wiring.encoder import configured_version, open_encoder
from ponder.wiring.service import centre_of, history_config
from ponder.wiring.stores import open_index, open_lake
from ponder.wiring.vectors import embedded_dim, failed_keys, index_parts

if TYPE_CHECKING:
    from evaluation.query_sets import Query
    from recall.exact import ExactIndex
    from recall.index import ItemIndex
    from recall.validation import Evidence, Validation

USERS_SHARE = 4
"""Sampled items for each user whose profile is searched for."""

MAX_HISTORY = 50
"""Items of a history that make its profile, the newest."""


DRAWN_PER_SAMPLED = 10
"""Items that are drawn for each sampled one, for some await their embedding."""


class ValidationFailed(RuntimeError):
    """A filled collection must not go live; the text lists why, and the live one stays."""


@observed("validate")
def validate(settings: Settings, *, seed: int = 0) -> "Validation":
    """Validate the configured version's collection, and keep the result with the version.

    Raises:
        ValidationFailed: it must not go live.
    """
    version, lake = configured_version(settings), open_lake(settings)
    identify(version=version)
    with open_index(settings) as milvus:
        return validate_in(settings, lake, milvus, version, seed=seed)


def validate_in(
    settings: Settings, lake: Lake, milvus: "ItemIndex", version: str, *, seed: int = 0
) -> "Validation":
    """Validate a version's collection in an open index; see `validate`.

    Raises:
        ValidationFailed: it must not go live.
    """
    from recall.exact import ExactIndex
    from recall.validation import validate

    if embedded_dim(lake, version) is None and not is_all_deleted(lake):
        raise ValueError(f"embeddings of version {version!r} must not be empty; embed items first")
    milvus.dim(version)
    known = IndexVersions(lake)
    live, before = known.live(), known.of(version)
    truth = ExactIndex(lake, settings.vectors_folder, lambda: version)
    asked = _Asked(settings, lake, truth, version)
    found = validate(
        milvus,
        version,
        index_parts(lake, milvus, version),
        truth=truth,
        queries=asked.vectors(),
        evidence=_evidence(asked, known, before, live),
        live=live,
        config=settings.validation,
        seed=seed,
    )
    known.record(
        version,
        state="validated" if found.passed else "refused",
        num_items=found.num_items,
        digest=found.digest,
        validation=to_json(json_form(found) | {"problems": found.problems}),
        validated_at=datetime.now(UTC),
    )
    if not found.passed:
        raise ValidationFailed(f"version {version!r}: " + "; ".join(found.problems))
    return replace(found, centroid_D=())  # which is for the next validation, and long


def is_validated(settings: Settings, lake: Lake, milvus: "ItemIndex", version: str) -> bool:
    """Whether a version's last validation was for it, and it still is what was validated.

    The keys and content hashes that its collection holds are compared with those of then, and the
    living items that it covers are counted anew: others may have landed since.
    """
    known = IndexVersions(lake).of(version)
    if known is None or known.state != "validated":
        return False
    num_living = _num_living(lake, version)
    covers = known.num_items >= settings.validation.min_coverage * num_living
    return covers and known.digest == milvus.digest(version)


def is_all_deleted(lake: Lake) -> bool:
    """Whether there were items, and none is left."""
    deleted = lake.scan(ITEMS).select(pl.len(), pl.col("deleted").sum()).collect()
    return 0 < deleted["len"][0] == deleted["deleted"][0]


def _num_living(lake: Lake, version: str) -> int:
    """Count the living items, without those that the version failed to embed as they are."""
    failed = failed_keys(lake, version).lazy().select("item_id", "content_hash")
    living = living_items(lake).select("item_id", "content_hash")
    left = living.join(failed, on=["item_id", "content_hash"], how="anti")
    return int(left.select(pl.len()).collect(engine="streaming").item())


def _evidence(
    asked: "_Asked", known: IndexVersions, before: IndexVersion | None, live: str | None
) -> "Evidence":
    from recall.validation import Evidence

    last = _measured(before)
    judged = asked.judged_recall()
    now_live = _measured(known.of(live)) if live is not None else {}
    is_same_set = judged is not None and live != asked.version
    return Evidence(
        num_living=_num_living(asked.lake, asked.version),
        canary_cosine=asked.canary_cosine(),
        reasoning_rate=_reasoning_rate(asked.lake, asked.version),
        wait_hours=_wait_hours(asked.lake, asked.version),
        judged_recall=judged,
        live_judged_recall=now_live.get("judged_recall") if is_same_set else None,
        last_centroid_D=tuple(last["centroid_D"]) if last.get("centroid_D") else None,
        last_reasoning_rate=last.get("reasoning_rate"),
    )


def _measured(known: IndexVersion | None) -> dict[str, Any]:
    return {} if known is None else known.measured


def _reasoning_rate(lake: Lake, version: str) -> float | None:
    reasoned = (pl.col("action") == "reason").mean()
    return embeddings_of(lake, version).select(reasoned).collect().item()


def _wait_hours(lake: Lake, version: str) -> float:
    """Return for how long the item waits that waits longest, of those that did not fail."""
    embedded = KeySet.of(embeddings_of(lake, version), KEYS)
    left = embedded.absent(living_items(lake).select(*KEYS, "updated_at"))
    waiting = left.join(failed_keys(lake, version), on=KEYS, how="anti")
    since = waiting.select(pl.col("updated_at").min()).item()
    return 0.0 if since is None else max((datetime.now(UTC) - since).total_seconds() / 3600, 0.0)


@dataclass(frozen=True)
class _Asked:
    """Asks a version what its users would ask."""

    settings: Settings
    lake: Lake
    truth: "ExactIndex"
    version: str

    def vectors(self) -> dict[str, np.ndarray]:
        """Return [Q, D] of each kind of query; a kind without queries is left out."""
        kinds = {"profiles": self._profiles(), "texts": self._texts()}
        return {kind: np.stack(vectors) for kind, vectors in kinds.items() if vectors}

    def _profiles(self) -> list[np.ndarray]:
        """Return the mean vectors of sampled users' histories, whose interests may be several."""
        from features.history_store import ScannedHistories
        from features.profile import ProfileConfig, profile_vector

        histories = ScannedHistories(self.lake, history_config(self.settings))
        half_life, centre_D = ProfileConfig().half_life, centre_of(self.settings, self.version)
        profiles = []
        for user_id in self._users():
            liked = histories.of(user_id).liked[:MAX_HISTORY]
            vectors = self.truth.vectors(liked, self.version)
            if known := [vectors[item_id] for item_id in liked if item_id in vectors]:
                profile = profile_vector(np.stack(known), half_life=half_life, centre_D=centre_D)
                profiles.append(profile)
        return profiles

    def _users(self) -> list[str]:
        users = self.lake.scan(EVENTS).select(pl.col("user_id").unique())
        num = -(-self.settings.validation.sample // USERS_SHARE)
        drawn = users.bottom_k(num, by=pl.col("user_id").hash(seed=0)).collect(engine="streaming")
        return sorted(drawn["user_id"].to_list())

    def _texts(self) -> list[np.ndarray]:
        """Return the vectors of some items' titles, asked for as texts."""
        from embedder.content import Content

        items = self._sampled().filter(pl.col("title").str.strip_chars() != "")
        titles = [Content(title) for title in items["title"].to_list()]
        if not titles:
            return []
        encoder = open_encoder(self.settings)
        return [each.vector for each in encoder.encode_query(titles, policy="never")]

    def _sampled(self) -> pl.DataFrame:
        """Return rows of `items` whose present content the version has embedded, the same ones."""
        num = self.settings.validation.encoded
        if not num:
            return ITEMS.empty()
        lot = pl.col("item_id").hash(seed=0)
        living = living_items(self.lake).select(KEYS).bottom_k(DRAWN_PER_SAMPLED * num, by=lot)
        drawn = living.collect(engine="streaming")
        is_drawn = pl.col("item_id").is_in(drawn["item_id"].implode())
        embedded = embeddings_of(self.lake, self.version).filter(is_drawn).select(KEYS).collect()
        ids = drawn.join(embedded, on=KEYS, how="semi").bottom_k(num, by=lot)["item_id"]
        rows = self.lake.scan(ITEMS).filter(pl.col("item_id").is_in(ids.implode()))
        return rows.sort("item_id").collect()

    def canary_cosine(self) -> float | None:
        """Return the lowest cosine of the sampled items' vectors with ones made just now."""
        from embedder.items import embed_items

        items = self._sampled()
        if items.is_empty():
            return None
        media = read_media(self.lake, items)
        made = embed_items(items, media, open_encoder(self.settings)).embeddings
        stored = self.truth.vectors(made["item_id"].to_list(), self.version)
        cosines = [
            float(np.dot(vector, stored[item_id]))
            for item_id, vector in made.select("item_id", "vector").iter_rows()
            if item_id in stored
        ]
        return min(cosines, default=None)

    def judged_recall(self) -> float | None:
        """Return recall@10 of the judged queries; None where there are none to ask."""
        from evaluation.metrics import measure
        from evaluation.query_sets import TOP_K
        from evaluation.rankings import Rankings

        queries, relevant = self._judged()
        if not queries:
            return None
        found = self.truth.search(self._query_vectors(queries), self.version, limit=TOP_K + 1)
        ranked: list[list[str]] = [[] for _ in queries]
        for q, item_id in found.select("query_index", "item_id").iter_rows():
            if item_id != queries[q].item and len(ranked[q]) < TOP_K:
                ranked[q].append(item_id)
        name = f"recall@{TOP_K}"
        return float(np.mean(measure(Rankings.of_lists(ranked, relevant), [name])[name]))

    def _judged(self) -> "tuple[list[Query], list[set[str]]]":
        """Return the queries that can be asked, and the living items that answer each."""
        from evaluation.query_sets import read_queries

        config, path = self.settings.validation, _judged_file(self.settings)
        if path is None or not config.encoded or not config.judged:
            return [], []
        queries = sorted(read_queries(path), key=lambda query: query.query_id)[: config.judged]
        ids = {item_id for query in queries for item_id in (*query.relevant, query.item) if item_id}
        there = self.truth.vectors(sorted(ids), self.version).keys()
        asked = [
            query
            for query in queries
            if there & set(query.relevant) and (query.item is None or query.item in there)
        ]
        return asked, [there & set(query.relevant) for query in asked]

    def _query_vectors(self, queries: "list[Query]") -> np.ndarray:
        from embedder.content import Content

        asked = [query.item for query in queries if query.item is not None]
        vectors = self.truth.vectors(asked, self.version)
        texts = [query for query in queries if query.item is None]
        if texts:
            contents = [Content(query.text) for query in texts]
            encodings = open_encoder(self.settings).encode_query(contents, policy="never")
            by_id = {q.query_id: e.vector for q, e in zip(texts, encodings, strict=True)}
        return np.stack(
            [vectors[q.item] if q.item is not None else by_id[q.query_id] for q in queries]
        )


def _judged_file(settings: Settings) -> Path | None:
    if settings.judged_queries:
        path = Path(settings.judged_queries)
        if not path.exists():
            raise ValueError(f"judged_queries must name a queries.jsonl, got {path}: no such file")
        return path
    path = Path(settings.data) / "queries.jsonl"
    return path if settings.data and path.exists() else None
