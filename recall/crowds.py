"""Vectors that many items share, and how an index holds them without being trapped by them.

In a graph of neighbours (HNSW) items with one and the same vector have links to each other alone:
what lies near more of them than a search looks at is not found, and what is added near them gets no
links. So of each vector only so many items are in the partition whose graph is searched. All others
of that vector, its crowd, lie in a partition of their own, which no search walks through: one of
them, the lead, stands for the vector, and a reader compares queries with the few leads itself.

Shape legend: K = crowds, D = embedding dimension.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from recall.client import TimedClient
from recall.filters import ids_in, quoted
from recall.placement import (
    CROWD_PARTITION,
    GRAPH_PARTITION,
    HASH_DIGITS,
    SUFFIXES,
    Place,
    placed,
)

SAME_SCORE = 1e-5  # float32 cosines of one pair, computed along two paths, differ by less
LEADS_MAX_AGE_S = 1.0
PAGE_ROWS = 2_000  # with their vectors they must fit into 64 MiB


@dataclass(frozen=True)
class Leads:
    """The vectors that have a crowd."""

    keys: tuple[int, ...]
    unit_KD: np.ndarray


class Crowds:
    """The crowds of a Milvus's collections, as its readers and its writer need them.

    A collection that was made before there were crowds has none, and goes on without.
    """

    def __init__(self, client: TimedClient, *, max_identical: int) -> None:
        """Ask `client`; of each vector `max_identical` items lie in the graph."""
        self._client = client
        self._max = max_identical
        self._known: dict[str, tuple[float, Leads | None]] = {}

    def forget(self) -> None:
        """Ask Milvus again, for rows were written, or it was started anew."""
        self._known.clear()

    def ensure(self, name: str) -> None:
        """Make the partition of a collection that has the columns for it."""
        columns = {field["name"] for field in self._client.describe_collection(name)["fields"]}
        if "place" in columns and not self._client.has_partition(name, CROWD_PARTITION):
            self._client.create_partition(name, CROWD_PARTITION)
        self._known.pop(name, None)

    def are_kept(self, name: str) -> bool:
        """Whether the collection tells crowds apart."""
        return self._leads(name) is not None

    def leads(self, name: str) -> Leads | None:
        """Return the vectors that have a crowd, as a second ago at most; None where there is none.

        A vector is read once, so this costs a small query a second.
        """
        leads = self._leads(name)
        return leads if leads is not None and leads.keys else None

    def _leads(self, name: str) -> Leads | None:
        now, known = time.monotonic(), self._known.get(name)
        if known is None or now - known[0] > LEADS_MAX_AGE_S:
            known = self._known[name] = now, self._read_leads(name, known[1] if known else None)
        return known[1]

    def _read_leads(self, name: str, before: Leads | None) -> Leads | None:
        if before is None and not self._client.has_partition(name, CROWD_PARTITION):
            return None
        vectors = dict(zip(before.keys, before.unit_KD, strict=True)) if before else {}
        is_lead = f"place == {Place.LEAD:d}"
        new = {row["vector_key"]: row["item_id"] for row in self._pages(name, is_lead)}
        wanted = [item_id for key, item_id in new.items() if key not in vectors]
        for start in range(0, len(wanted), PAGE_ROWS):
            some = ids_in(wanted[start : start + PAGE_ROWS])
            for row in self._query(name, some, ["vector_key", "vector"]):
                vector_D = np.asarray(row["vector"], dtype=np.float32)
                vectors[row["vector_key"]] = vector_D / np.linalg.norm(vector_D)
        keys = tuple(sorted(new.keys() & vectors.keys()))
        empty = np.empty((0, 0), dtype=np.float32)
        return Leads(keys, np.stack([vectors[key] for key in keys]) if keys else empty)

    def members(self, name: str, key: int, *, expression: str, limit: int) -> list[str]:
        """Return the items of a vector that match, those in the graph too: the first ones by id."""
        matching = f"vector_key == {key}" + (f" and ({expression})" if expression else "")
        both = [GRAPH_PARTITION, CROWD_PARTITION]
        rows = self._pages(name, matching, partitions=both, page_rows=limit)
        return [row["item_id"] for row in itertools.islice(rows, limit)]

    def _pages(
        self,
        name: str,
        expression: str,
        *,
        partitions: Sequence[str] = (CROWD_PARTITION,),
        page_rows: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield item_id and vector_key of all rows that match, in order of item_id."""
        after = ""
        while page := self._client.query(
            name,
            filter=f"({expression}){after}",
            limit=page_rows or PAGE_ROWS,
            output_fields=["item_id", "vector_key"],
            partition_names=list(partitions),
            iterator="True",  # in order of item_id, but it ends where any one segment ends
            reduce_stop_for_best="True",
        ):
            yield from page
            after = f" and item_id > {quoted(page[-1]['item_id'])}"

    def appoint(self, name: str, going: str) -> None:
        """Let another item of the crowd lead where one does that is about to go.

        Args:
            name: of the collection.
            going: the expression that holds for the items that are about to go.
        """
        if self.leads(name) is None:
            return
        is_lead = f"place == {Place.LEAD:d}"
        leading = self._query(name, f"{is_lead} and {going}", ["vector_key"], "Strong")
        for key in {row["vector_key"] for row in leading}:
            rest = f"vector_key == {key} and not ({going})"
            if self._query(name, f"{rest} and {is_lead}", ["item_id"], "Strong", 1):
                continue
            for row in self._query(name, rest, ["*"], "Strong", 1):
                row_hash = row["row_hash"][:HASH_DIGITS] + SUFFIXES[Place.LEAD]
                lead = row | {"place": int(Place.LEAD), "row_hash": row_hash}
                self._client.upsert(name, [lead], partition_name=CROWD_PARTITION)
        self._known.pop(name, None)

    def place_new(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows, with `vector_key`, in the places that the collection has for them.

        As it is when it is asked, some seconds ago at most: what is one too many in the graph does
        no harm, and the next sync places all of them.
        """
        places = [
            self._place_of(name, item_id, key)
            for item_id, key in rows.select("item_id", "vector_key").iter_rows()
        ]
        return placed(rows, pl.Series(places, dtype=pl.Int8))

    def _place_of(self, name: str, item_id: str, key: int) -> Place:
        others = f"vector_key == {key} and not ({ids_in([item_id])})"
        found = self._client.query(
            name,
            filter=others,
            limit=self._max,
            output_fields=["item_id"],
            partition_names=[GRAPH_PARTITION],
        )
        if len(found) < self._max:
            return Place.GRAPH
        leads = self._query(name, f"{others} and place == {Place.LEAD:d}", ["item_id"], limit=1)
        return Place.CROWD if leads else Place.LEAD

    def _query(
        self,
        name: str,
        expression: str,
        columns: list[str],
        level: str = "Bounded",
        limit: int = PAGE_ROWS,
    ) -> list[dict[str, Any]]:
        return self._client.query(
            name,
            filter=expression,
            limit=limit,
            output_fields=columns,
            partition_names=[CROWD_PARTITION],
            consistency_level=level,
        )


def with_crowds(
    scores: Sequence[tuple[str, float]],
    query_D: np.ndarray,
    leads: Leads,
    members_of: Callable[[int], list[str]],
    *,
    limit: int,
) -> list[tuple[str, float]]:
    """Return what a search of the graph found, and the members of each crowd that are as near.

    Args:
        scores: item_id and cosine, at least `limit`.
        query_D: a unit vector.
        leads: the vectors that have a crowd.
        members_of: the items of a vector that match, in order of their ids, `limit` at most.
        limit: how many of the best are wanted.
    """
    best = dict(scores)
    score_K = leads.unit_KD @ query_D
    for k in np.argsort(-score_K, kind="stable"):
        edge = sorted(best.values(), reverse=True)[limit - 1]
        if score_K[k] < edge - SAME_SCORE:
            break
        best |= dict.fromkeys(members_of(leads.keys[k]), float(score_K[k]))
    return list(best.items())
