"""Recall on a Milvus server beside the bare calls, exact search beside numpy, and what is found.

    python -m bench.recall --milvus http://127.0.0.1:19530 --items 100000

The server is filled with clustered random vectors, and dropped at the end. Overhead and throughput
compare `Recall.by_item` with the two calls of pymilvus that it takes, on the same collection, turn
by turn. The last line is JSON: for each measurement ours, rival, ratio and the limit it is held to.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pymilvus import MilvusClient

from features.history_store import Histories
from recall.attributes import attribute_table, tag_table
from recall.blocks import HASHES, ROWS, BlockFolder, Part, State
from recall.candidates import RecallOptions
from recall.collection import IndexConfig, collection_name
from recall.filters import Filter
from recall.index import ItemIndex
from recall.index_kinds import KINDS
from recall.index_search import TIE_ROOM
from recall.lake_vectors import ROWS_AT_ONCE
from recall.rows import index_rows
from recall.search import Recall
from recall.snapshot import Snapshot

VERSION = "bench"
TOP_K = 100
NUM_CATEGORIES = 100  # one of them is a filter of 1 %
CLUSTER_ITEMS = 100
FLOAT32_SUM = 1e-6  # what adding in float32 may move a cosine
SPREAD = 0.7  # of an item around its cluster's centre, which has length 1


def main() -> None:
    """Measure everything once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--milvus", required=True, help="address of a Milvus server")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16, help="threads that ask at once")
    parser.add_argument("--identical", type=int, default=64, help="items that share a vector")
    parser.add_argument("--index-type", default="HNSW", choices=KINDS)
    options = parser.parse_args()
    config = IndexConfig(uri=options.milvus, alias="ponderbench", index_type=options.index_type)
    rows = catalogue(options.items, dim=options.dim, identical=options.identical)
    with (
        tempfile.TemporaryDirectory(prefix="ponder-bench-") as folder,
        ItemIndex.open(config) as index,
    ):
        snapshot = exact_snapshot(rows, Path(folder), dim=options.dim)
        started = time.perf_counter()
        index.sync(VERSION, rows, dim=options.dim)
        index.promote(VERSION)
        print(f"sync, index included: {time.perf_counter() - started:.1f} s", flush=True)
        vectors_ND = np.stack(rows["vector"].to_list())
        try:
            found = {
                **overhead(index, options.milvus, rows["item_id"].to_list(), options),
                **exact_beside_numpy(snapshot, vectors_ND),
                **found_of_exact(index, snapshot, vectors_ND, options.queries),
                **selective(index, snapshot, vectors_ND, options.queries),
            }
        finally:
            index._client.drop_alias("ponderbench")
            index._client.drop_collection(collection_name("ponderbench", VERSION))
    print(json.dumps(found))


def catalogue(num_items: int, *, dim: int, identical: int) -> pl.DataFrame:
    """Return items in clusters of a hundred; of every tenth cluster one vector is repeated."""
    rng = np.random.default_rng(0)
    centre_CD = _unit(rng.normal(size=(max(num_items // CLUSTER_ITEMS, 1), dim)))
    cluster_N = rng.integers(0, len(centre_CD), num_items)
    noise_ND = rng.normal(size=(num_items, dim)) * SPREAD / np.sqrt(dim)
    vectors_ND = _unit(centre_CD[cluster_N] + noise_ND)
    for number in range(0, len(centre_CD), 10):
        same = np.flatnonzero(cluster_N == number)[:identical]
        vectors_ND[same] = vectors_ND[same[:1]]
    return pl.DataFrame(
        {
            "item_id": [f"item-{n:08d}" for n in range(num_items)],
            "vector": vectors_ND.astype(np.float32).tolist(),
            "content_hash": [f"{n:064x}" for n in range(num_items)],
            "category": [f"c{n % NUM_CATEGORIES}" for n in range(num_items)],
            "tags": [[]] * num_items,
            "attributes": ["{}"] * num_items,
            "created_at": [datetime(2026, 1, 1, tzinfo=UTC)] * num_items,
            "codes": [""] * num_items,
        },
        schema_overrides={"vector": pl.List(pl.Float32), "tags": pl.List(pl.String)},
    )


def exact_snapshot(rows: pl.DataFrame, folder: Path, *, dim: int) -> Snapshot:
    """Return exact search over the rows, from files as a deployment has them."""
    kept = index_rows(rows, dim=dim).with_columns(fingerprint=pl.lit(0, pl.UInt64))
    parts = (
        Part(
            vectors_ND=np.stack(part["vector"].to_list()).astype(np.float32),
            rows=part.select([*ROWS, *HASHES]),
            tags=tag_table(part["tags"]),
            attributes=attribute_table(part["attributes"]),
        )
        for part in kept.iter_slices(ROWS_AT_ONCE)
    )
    folder.mkdir(parents=True, exist_ok=True)
    blocks = BlockFolder(folder)
    written, _ = blocks.write_blocks(parts)
    return Snapshot(blocks.open(State(dim=dim, blocks=tuple(written), dead="", source={})))


def queries_of(vectors_ND: np.ndarray, num: int) -> dict[str, np.ndarray]:
    """Return query vectors by kind: texts near an item, profiles over three interests."""
    rng = np.random.default_rng(1)
    near_QD = vectors_ND[rng.integers(0, len(vectors_ND), num)]
    text_QD = near_QD + rng.normal(size=near_QD.shape) / np.sqrt(near_QD.shape[1])
    three = rng.integers(0, len(vectors_ND), (num, 3))
    return {"text": _unit(text_QD), "profile": _unit(vectors_ND[three].mean(axis=1))}


def overhead(
    index: ItemIndex, uri: str, item_ids: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Compare item queries with the calls that they take: one at a time, and many at once."""
    recall = Recall(index, lambda version: _no_encoder(), _NoHistories())
    client, name = MilvusClient(uri=uri), collection_name("ponderbench", VERSION)
    depth = TOP_K + TIE_ROOM
    params = {
        "metric_type": "COSINE",
        "params": index.config.parameters.searching(index.index_kind(VERSION), depth=depth),
    }

    def ours(item_id: str) -> None:
        recall.by_item(item_id, RecallOptions(top_k=TOP_K))

    def raw(item_id: str) -> None:
        [row] = client.query(name, filter=f'item_id in ["{item_id}"]', output_fields=["vector"])
        client.search(
            name,
            data=[row["vector"]],
            anns_field="vector",
            filter=f'item_id not in ["{item_id}"]',
            limit=depth,
            output_fields=["item_id"],
            search_params=params,
        )

    asked = [
        item_ids[n] for n in np.random.default_rng(2).integers(0, len(item_ids), options.queries)
    ]
    _timed(ours, asked[:20]), _timed(raw, asked[:20])  # the first ones open connections
    times: dict[Callable[[str], None], list[float]] = {ours: [], raw: []}
    for item_id in asked:
        for ask in (ours, raw):
            times[ask] += _timed(ask, [item_id])
    ours_ms, raw_ms = (1000 * statistics.median(times[ask]) for ask in (ours, raw))
    ours_qps, raw_qps = (_throughput(ask, asked, options.clients) for ask in (ours, raw))
    return {
        "item_query_p50_ms": _compared(ours_ms, raw_ms, limit=1.15 + 1 / raw_ms),
        "item_queries_per_s": _compared(ours_qps, raw_qps, limit=0.85),
    }


def exact_beside_numpy(snapshot: Snapshot, vectors_ND: np.ndarray) -> dict[str, Any]:
    """Compare exact search with a product and `argpartition`, in queries a second."""
    found = {}
    for batch, limit in ((1, 1.0), (64, 2.0)):
        query_QD = queries_of(vectors_ND, batch)["text"]
        ours, rival = [], []
        for _ in range(20 if batch == 1 else 5):
            ours += _timed(lambda q: snapshot.search(q, limit=TOP_K, filter=Filter()), [query_QD])
            rival += _timed(lambda q: _argpartitioned(q, vectors_ND), [query_QD])
        ours_qps, rival_qps = (batch / statistics.median(times) for times in (ours, rival))
        found[f"exact_queries_per_s_batch_{batch}"] = _compared(ours_qps, rival_qps, limit=limit)
    return found


def _argpartitioned(query_QD: np.ndarray, vectors_ND: np.ndarray) -> list[np.ndarray]:
    score_QN = query_QD @ vectors_ND.T
    best_QK = np.argpartition(-score_QN, TOP_K, axis=1)[:, :TOP_K]
    return [
        best_K[np.argsort(-score_N[best_K])]
        for best_K, score_N in zip(best_QK, score_QN, strict=True)
    ]


def found_of_exact(
    index: ItemIndex, snapshot: Snapshot, vectors_ND: np.ndarray, num: int
) -> dict[str, Any]:
    """Return the share of the exact best that the index finds at its default setting."""
    found = {}
    for kind, query_QD in queries_of(vectors_ND, num).items():
        for depth in (10, 100, 1000):
            got = _by_query(index.search(query_QD, VERSION, limit=depth), num)
            best = _by_query(snapshot.search(query_QD, limit=depth, filter=Filter()), num)
            shares = []
            for got_ids, best_ids in zip(got, best, strict=True):
                shares.append(len(set(got_ids) & set(best_ids)) / len(best_ids))
            limit = 0.98 if depth == 100 else None
            found[f"{kind}_recall@{depth}"] = _compared(float(np.mean(shares)), 1.0, limit=limit)
    return found


def selective(
    index: ItemIndex, snapshot: Snapshot, vectors_ND: np.ndarray, num: int
) -> dict[str, Any]:
    """Return the share of queries under a filter of 1 % that find what exact search finds.

    List by list: at each rank stands the same item, or one whose cosine is the same to the
    millionth that float32 sums of a server may move it, which may put two neighbours either way.
    """
    only = Filter(category_in=("c7",))
    query_QD = queries_of(vectors_ND, num)["text"]
    got = _by_query(index.search(query_QD, VERSION, limit=TOP_K, filter=only), num)
    best = _by_query(snapshot.search(query_QD, limit=TOP_K, filter=only), num)
    equal, same = [], []
    for query_D, got_ids, best_ids in zip(query_QD, got, best, strict=True):
        equal.append(got_ids == best_ids)
        got_N, best_N = (_cosines(query_D, ids, vectors_ND) for ids in (got_ids, best_ids))
        same.append(len(got_N) == len(best_N) and np.abs(got_N - best_N).max() <= FLOAT32_SUM)
    return {
        "selective_same_share": _compared(float(np.mean(same)), 1.0, limit=1.0),
        "selective_identical_share": _compared(float(np.mean(equal)), 1.0, limit=None),
    }


def _cosines(query_D: np.ndarray, ids: Sequence[str], vectors_ND: np.ndarray) -> np.ndarray:
    rows = [int(item_id.removeprefix("item-")) for item_id in ids]
    cosines: np.ndarray = vectors_ND[rows].astype(np.float64) @ query_D.astype(np.float64)
    return cosines


def _by_query(frame: pl.DataFrame, num: int) -> list[list[str]]:
    lists: list[list[str]] = [[] for _ in range(num)]
    for number, item_id in frame.select("query_index", "item_id").iter_rows():
        lists[number].append(item_id)
    return lists


def _timed(ask: Callable[[Any], object], asked: Sequence[Any]) -> list[float]:
    def seconds() -> Iterator[float]:
        for one in asked:
            started = time.perf_counter()
            ask(one)
            yield time.perf_counter() - started

    return list(seconds())


def _throughput(ask: Callable[[str], None], asked: Sequence[str], clients: int) -> float:
    with ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        list(pool.map(ask, asked))
        return len(asked) / (time.perf_counter() - started)


def _compared(ours: float, rival: float, *, limit: float | None) -> dict[str, float | None]:
    told = {"ours": ours, "rival": rival, "ratio": ours / rival, "limit": limit}
    return {name: None if value is None else round(value, 4) for name, value in told.items()}


def _unit(vectors_ND: np.ndarray) -> np.ndarray:
    unit_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return unit_ND.astype(np.float32)


def _no_encoder() -> Any:
    raise LookupError("no query here has a content")


class _NoHistories(Histories):
    """Nobody has done anything."""

    def of(self, user_id: str) -> Any:
        raise LookupError(user_id)

    def popular(self, limit: int) -> pl.DataFrame:
        raise LookupError("nothing is popular")


if __name__ == "__main__":
    main()
