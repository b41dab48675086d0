"""Match features in batches against the loop over impressions that one writes first, and DuckDB.

    python -m bench.features [--users 2000] [--rounds 3]

Ours are the five basic features of `features.match.similarity_values` (max, mean, mean of the
nearest three, last, max of the last five). The rivals compute the first four of them: numpy, one
impression at a time, and DuckDB (extra `bench`), a join of impressions, histories and vectors.
Beside them stands what the product makes more: `core`, 26 features of cosines with what was liked;
`all`, the 67 that have to do with what was skipped as well; `columns`,
`features.match.match_columns`, all from ids, with ranks and gaps; `behaviour`,
`features.behaviour.behaviour_columns`, the same of a behaviour space of 32 numbers. All get the
same vectors, histories and candidates in memory; common features must agree to 1e-4 before a time
is reported. The limit is the matrix product alone: a request's candidates times its history. Times
are of the clock; `cpu` tells the same of the processor's time, which other work does not lengthen
much.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import duckdb
import numpy as np
import polars as pl

from features.behaviour import BehaviourConfig, behaviour_columns
from features.behaviour_spaces import BehaviourSpaces
from features.centred_embeddings import CentredEmbeddings
from features.grouped_requests import Groups
from features.histories import Pasts
from features.match import Asked, grouped, match_columns, similarity_values
from features.match_config import MatchConfig

NUM_CANDIDATES, HISTORY, NUM_ITEMS, DIM = 100, 50, 50_000, 256

BASIC = ("match_max", "match_mean", "match_last", "match_top3_mean")

SQL = """
WITH pairs AS (
    SELECT i.row, h.place, array_inner_product(c.vector, v.vector) AS s
    FROM impressions i
    JOIN histories h USING (request)
    JOIN vectors c ON c.item_id = i.item_id
    JOIN vectors v ON v.item_id = h.item_id
)
SELECT max(s), avg(s), max(s) FILTER (place = 0), list_avg(max(s, 3)) FROM pairs
GROUP BY row ORDER BY row
"""


def world(num_users: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame, CentredEmbeddings]:
    """Return impressions, histories and vectors: no candidate is in its user's history."""
    rng = np.random.default_rng(seed)
    vectors_ND = rng.normal(size=(NUM_ITEMS, DIM)).astype(np.float32)
    ids = [f"i{n:05d}" for n in range(NUM_ITEMS)]
    embeddings = pl.DataFrame(
        {"item_id": ids, "vector": vectors_ND.tolist(), "model_version": ["v"] * NUM_ITEMS}
    )
    drawn = [
        rng.choice(NUM_ITEMS, NUM_CANDIDATES + HISTORY, replace=False) for _ in range(num_users)
    ]
    impressions = pl.DataFrame(
        {
            "request": np.repeat([f"r{u}" for u in range(num_users)], NUM_CANDIDATES),
            "item_id": [ids[n] for rows in drawn for n in rows[:NUM_CANDIDATES]],
        }
    )
    histories = pl.DataFrame(
        {
            "request": [f"r{u}" for u in range(num_users)],
            "items": [[ids[n] for n in rows[NUM_CANDIDATES:]] for rows in drawn],
            "ages_h": [list(map(float, range(HISTORY)))] * num_users,
        },
        schema_overrides={"ages_h": pl.List(pl.Float32)},
    )
    return impressions, histories, CentredEmbeddings.measured(embeddings)


def values_of(kinds: list[Groups], centred: CentredEmbeddings, config: MatchConfig) -> np.ndarray:
    """Return the basic features of every impression, beside which all others are made."""
    values = similarity_values(kinds, centred, config)
    return values[:, [config.value_names().index(name) for name in BASIC]]


def columns_of(
    asked: Asked, past: Pasts, centred: CentredEmbeddings, config: MatchConfig
) -> np.ndarray:
    """Return the same by way of the whole columns; what was liked stands for what was skipped."""
    made = match_columns(asked, past, past, past, centred, config=config)
    return np.stack([made[name].to_numpy() for name in BASIC], axis=1)


def behaviour_of(asked: Asked, past: Pasts, spaces: BehaviourSpaces) -> np.ndarray:
    """Return the nearest and the mean cosine in a behaviour space, beside all its columns."""
    day_R = np.ones(len(past.first_R) - 1, dtype=np.int64)
    made = behaviour_columns(
        asked.item_ids, asked.request_N, day_R, past, spaces, config=BehaviourConfig()
    )
    return np.stack([made[f"behaviour_{name}"].to_numpy() for name in ("max", "mean")], axis=1)


def space_of(item_ids: pl.Series) -> BehaviourSpaces:
    """Return a behaviour space in which every item lies somewhere."""
    vectors_ND = np.random.default_rng(4).normal(size=(len(item_ids), 32)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return BehaviourSpaces(np.array([0]), item_ids, vectors_ND[None])


def in_space(spaces: BehaviourSpaces, impressions: pl.DataFrame, past: Pasts) -> np.ndarray:
    """Return the nearest and the mean cosine of the first hundred impressions, one at a time."""
    vectors_ID, number = spaces.vectors_TID[0], {id_: n for n, id_ in enumerate(spaces.item_ids)}
    liked = [number[item_id] for item_id in past.item_ids[: past.first_R[1]]]
    cosines = [vectors_ID[liked] @ vectors_ID[number[id_]] for id_ in impressions["item_id"][:100]]
    return np.array([(cosine.max(), cosine.mean()) for cosine in cosines])


def categories(num: int, seed: int) -> pl.Series:
    """Return categories drawn among twenty."""
    return pl.Series([f"c{n}" for n in np.random.default_rng(seed).integers(20, size=num)])


def row_loop(groups: Groups, vectors_ND: np.ndarray, num_rows: int) -> np.ndarray:
    """Return [num_rows, 4] max, mean, last and mean of the nearest three, row by row."""
    found = np.empty((num_rows, 4), dtype=np.float32)
    request = 0
    for row in range(num_rows):
        while groups.first_R[request + 1] <= row:
            request += 1
        cosine = vectors_ND[history_of(groups, request)] @ vectors_ND[groups.candidate_N[row]]
        nearest = np.partition(cosine, -3)[-3:]
        found[row] = cosine.max(), cosine.mean(), cosine[0], nearest.mean()
    return found


def history_of(groups: Groups, request: int) -> np.ndarray:
    """Return the rows of the embeddings that a request's history is."""
    return groups.history_E[groups.first_E[request] : groups.first_E[request + 1]]


def products(groups: Groups, vectors_ND: np.ndarray) -> np.ndarray:
    """Return the last of the matrix products, done alone."""
    product = np.empty(0)
    for request in range(len(groups.first_R) - 1):
        history = history_of(groups, request)
        rows = groups.candidate_N[groups.first_R[request] : groups.first_R[request + 1]]
        product = vectors_ND[rows] @ vectors_ND[history].T
    return product


def in_duckdb(
    impressions: pl.DataFrame, histories: pl.DataFrame, centred: CentredEmbeddings
) -> Callable[[], np.ndarray]:
    """Return what asks DuckDB for the same four features, its tables made before."""
    flat = histories.explode("items", "ages_h").select(
        "request", item_id="items", place=pl.col("ages_h").cast(pl.Int32)
    )
    database = duckdb.connect()
    database.execute("SET threads = 2")
    vectors = pl.DataFrame(
        {"item_id": centred.item_ids, "vector": pl.Series(centred.vectors_ND)}
    ).to_arrow()
    tables = {
        "impressions": impressions.with_row_index("row").to_arrow(),
        "histories": flat.to_arrow(),
    }
    for name, table in tables.items():
        database.register("given", table)
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
    database.register("given", vectors)
    database.execute(
        f"CREATE TABLE vectors AS SELECT item_id, vector::FLOAT[{DIM}] AS vector FROM given"
    )
    return lambda: np.stack(list(database.execute(SQL).fetchnumpy().values()), axis=1)


def best_times(
    works: dict[str, Callable[[], np.ndarray]], rounds: int
) -> tuple[dict[str, float], dict[str, float], dict[str, np.ndarray]]:
    """Return the best time of each by the clock and the processor, in turns, and what each gave."""
    best, busy = dict.fromkeys(works, float("inf")), dict.fromkeys(works, float("inf"))
    results: dict[str, np.ndarray] = {}
    for _ in range(rounds):
        for name, work in works.items():
            started, worked = time.perf_counter(), time.process_time()
            results[name] = work()
            best[name] = min(best[name], time.perf_counter() - started)
            busy[name] = min(busy[name], time.process_time() - worked)
    return best, busy, results


def main() -> None:
    """Alternate ours, rivals and limit, and keep the best of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    config = MatchConfig()
    core = MatchConfig(details=False, feedback=False)
    basic = replace(core, top_k=(3,), half_lives_days=(), num_tiers=0, relative=())
    impressions, histories, centred = world(asked.users, seed=0)
    request_N = np.repeat(np.arange(asked.users), NUM_CANDIDATES)
    candidates = Asked(impressions["item_id"], request_N, categories(len(impressions), seed=1))
    past = Pasts.of(histories)
    strong_P = np.random.default_rng(2).random(len(past.item_ids)) < 0.3
    past = replace(past, is_strong_P=strong_P, categories=categories(len(past.item_ids), seed=3))
    num_rows = len(impressions)
    row_N, row_P = centred.rows_of(candidates.item_ids), centred.rows_of(past.item_ids)
    liked = grouped(candidates, row_N, past, row_P, centred, config.slots)
    skipped = grouped(candidates, row_N, past, row_P, centred, config.skip_slots)
    spaces = space_of(centred.item_ids)
    works = {
        "ours": partial(values_of, [liked], centred, basic),
        "core": partial(values_of, [liked], centred, core),
        "all": partial(values_of, [liked, skipped], centred, config),
        "columns": lambda: columns_of(candidates, past, centred, config),
        "behaviour": lambda: behaviour_of(candidates, past, spaces),
        "rival": lambda: row_loop(liked, centred.vectors_ND, num_rows),
        "duckdb": in_duckdb(impressions, histories, centred),
        "limit": lambda: products(liked, centred.vectors_ND),
    }
    best, busy, results = best_times(works, asked.rounds)
    for name in ("core", "all", "columns", "rival", "duckdb"):
        np.testing.assert_allclose(results["ours"], results[name], atol=1e-4, err_msg=name)
    np.testing.assert_allclose(
        results["behaviour"][:100], in_space(spaces, impressions, past), atol=1e-4
    )
    report = {
        "unit": "impressions/s",
        **{name: round(num_rows / seconds) for name, seconds in best.items()},
        "cpu": {name: round(num_rows / seconds) for name, seconds in busy.items()},
        "ratio": round(best["rival"] / best["ours"], 2),
        "ratio_duckdb": round(best["duckdb"] / best["ours"], 2),
        "ratio_core": round(best["rival"] / best["core"], 2),
        "share_of_limit": round(best["limit"] / best["ours"], 3),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
