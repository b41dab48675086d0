"""Features from file to file, joined as of each request, against DuckDB's ASOF join and SQL.

    python -m bench.feature_export [--users 2000] [--versions 10 100] [--rounds 2] [--feast PYTHON]

Both read the same Parquet files (impressions, likes, vectors, and some states of every item, each
with its time) and write one: price and age of the candidate as they were at the request, and
cosines with what the user liked before it (max, mean, last, mean of the nearest three). Ours is
`features.context.described`, `features.histories` and `features.match`; the rival is one statement
of SQL (extra `bench`). Rows and values must agree to 1e-4 before a time is reported.

`--feast PYTHON` adds a second rival: Feast joins the states (offline store `duckdb`), DuckDB does
the rest. Feast brings many packages, so it is no dependency of ours, even of benchmarks: PYTHON is
that of an environment of its own (`pip install "feast[duckdb]"`). Without one it is not measured.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from catalog.lake.tables import TIME
from features.centred_embeddings import CentredEmbeddings
from features.centring import Centring
from features.context import described
from features.histories import histories
from features.match import match_features
from features.match_config import MatchConfig
from features.requests import numbered, requests_of

NUM_CANDIDATES, HISTORY, NUM_ITEMS, DIM = 100, 50, 20_000, 256
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 60
BASIC = MatchConfig(
    top_k=(3,), half_lives_days=(), num_tiers=0, relative=(), details=False, feedback=False
)
SAME = ("item_price", "item_age_h", "match_max", "match_mean", "match_last", "match_top3_mean")

NEAR = """
    WITH past AS (
        SELECT i.request_id, l.item_id, row_number() OVER (
            PARTITION BY i.request_id ORDER BY l.ts DESC, l.item_id DESC
        ) AS place
        FROM (SELECT DISTINCT request_id, user_id, ts FROM '{folder}/impressions.parquet') i
        JOIN '{folder}/likes.parquet' l ON l.user_id = i.user_id AND l.ts < i.ts
    ),
    vectors AS (SELECT item_id, vector::FLOAT[{dim}] AS vector FROM '{folder}/vectors.parquet'),
    near AS (
        SELECT i.request_id, i.item_id, max(s) AS match_max, avg(s) AS match_mean,
            max(s) FILTER (place = 1) AS match_last, list_avg(max(s, 3)) AS match_top3_mean
        FROM (
            SELECT i.request_id, i.item_id, p.place, array_inner_product(c.vector, v.vector) AS s
            FROM '{folder}/impressions.parquet' i
            JOIN past p ON p.request_id = i.request_id AND p.place <= {history}
            JOIN vectors c ON c.item_id = i.item_id
            JOIN vectors v ON v.item_id = p.item_id
        ) i
        GROUP BY i.request_id, i.item_id
    )
"""

SQL = f"""
COPY (
    {NEAR}
    SELECT i.request_id, i.item_id, s.price AS item_price,
        epoch(i.ts - s.created_at) / 3600 AS item_age_h,
        match_max, match_mean, match_last, match_top3_mean
    FROM '{{folder}}/impressions.parquet' i
    ASOF LEFT JOIN '{{folder}}/states.parquet' s ON s.item_id = i.item_id AND s.since < i.ts
    JOIN near n ON n.request_id = i.request_id AND n.item_id = i.item_id
) TO '{{folder}}/rival.parquet'
"""

FEAST_SQL = f"""
COPY (
    {NEAR}
    SELECT a.request_id, a.item_id, a.price AS item_price,
        epoch(a.ts - a.created_at) / 3600 AS item_age_h,
        match_max, match_mean, match_last, match_top3_mean
    FROM about a JOIN near n ON n.request_id = a.request_id AND n.item_id = a.item_id
) TO '{{folder}}/feast.parquet'
"""


def write_world(folder: Path, *, num_users: int, num_versions: int, seed: int) -> None:
    """Write impressions, likes, vectors and states of items; no candidate is in its history."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"i{n:05d}" for n in range(NUM_ITEMS)])
    drawn = np.stack(
        [rng.choice(NUM_ITEMS, NUM_CANDIDATES + HISTORY, replace=False) for _ in range(num_users)]
    )
    asked = rng.integers(DAYS * 12, DAYS * 24, size=num_users)
    users = np.array([f"u{n}" for n in range(num_users)])
    pl.DataFrame(
        {
            "request_id": np.repeat(np.char.replace(users, "u", "r"), NUM_CANDIDATES),
            "user_id": np.repeat(users, NUM_CANDIDATES),
            "item_id": ids[drawn[:, :NUM_CANDIDATES]].ravel(),
            "ts": times(np.repeat(asked, NUM_CANDIDATES)),
        }
    ).write_parquet(folder / "impressions.parquet")
    before = np.arange(1, HISTORY + 1)
    pl.DataFrame(
        {
            "user_id": np.repeat(users, HISTORY),
            "item_id": ids[drawn[:, NUM_CANDIDATES:]].ravel(),
            "action": "like",
            "ts": times((asked[:, None] - before).ravel()),
        }
    ).write_parquet(folder / "likes.parquet")
    vectors_ND = rng.normal(size=(NUM_ITEMS, DIM)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    pl.DataFrame(
        {"item_id": ids, "vector": pl.Series(vectors_ND).cast(pl.List(pl.Float32))}
    ).with_columns(model_version=pl.lit("v")).write_parquet(folder / "vectors.parquet")
    since = np.arange(num_versions) * (DAYS * 24 // num_versions) - 1
    pl.DataFrame(
        {
            "item_id": np.repeat(ids, num_versions),
            "category": "c",
            "price": rng.uniform(1, 100, size=NUM_ITEMS * num_versions),
            "created_at": times(np.full(NUM_ITEMS * num_versions, -24)),
            "since": times(np.tile(since, NUM_ITEMS)),
        }
    ).write_parquet(folder / "states.parquet")


def times(hours: np.ndarray) -> pl.Series:
    """Return moments so many hours after the start."""
    return pl.Series(hours.astype(np.int64) * 3_600_000_000).cast(pl.Duration("us")) + pl.Series(
        [START], dtype=TIME
    )


def ours(folder: Path) -> pl.DataFrame:
    """Read, join, compute and write; return what was written."""
    impressions = numbered(pl.read_parquet(folder / "impressions.parquet"))
    requests = requests_of(impressions)
    past = histories(requests, pl.read_parquet(folder / "likes.parquet"))
    centring = Centring("v", (0.0,) * DIM, ())
    centred = CentredEmbeddings.of(pl.read_parquet(folder / "vectors.parquet"), centring)
    about = described(impressions, pl.read_parquet(folder / "states.parquet"))
    match = match_features(impressions, past, centred, config=BASIC)
    age_h = (pl.col("ts") - pl.col("created_at")).dt.total_seconds(fractional=True) / 3600
    made = about.select("request_id", "item_id", item_price="price", item_age_h=age_h)
    table = pl.concat([made, match.select(SAME[2:])], how="horizontal")
    table.write_parquet(folder / "ours.parquet")
    return table


def rival(folder: Path) -> pl.DataFrame:
    """Let DuckDB do it; return what it wrote."""
    with duckdb.connect() as database:
        database.execute("SET threads = 2")
        database.execute(SQL.format(folder=folder, dim=DIM, history=HISTORY))
    return pl.read_parquet(folder / "rival.parquet")


def feast(python: str, folder: Path) -> tuple[float, pl.DataFrame]:
    """Let Feast and DuckDB do it in a process of their own; return its seconds and its table."""
    sql = FEAST_SQL.format(folder=folder, dim=DIM, history=HISTORY)
    (folder / "feast.sql").write_text(sql)
    done = subprocess.run(
        [python, str(Path(__file__).with_name("feast_join.py")), str(folder)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout.split()[-1]), pl.read_parquet(folder / "feast.parquet")


def timed(work: Callable[[], pl.DataFrame]) -> tuple[float, float, pl.DataFrame]:
    """Return seconds by the clock and of the processor, and what came of it."""
    started, worked = time.perf_counter(), time.process_time()
    made = work()
    return time.perf_counter() - started, time.process_time() - worked, made


def check_same(one: pl.DataFrame, other: pl.DataFrame) -> None:
    """Refuse a time of results that differ."""
    key = ["request_id", "item_id"]
    left, right = one.sort(key), other.sort(key)
    assert left.select(key).equals(right.select(key)), "the rows differ"
    for name in SAME:
        np.testing.assert_allclose(left[name], right[name], atol=1e-4, err_msg=name)


def measured(
    num_users: int, num_versions: int, rounds: int, python: str | None
) -> dict[str, object]:
    """Return what all did in their best rounds, taken in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_world(folder, num_users=num_users, num_versions=num_versions, seed=0)
        best: dict[str, list[float]] = {"ours": [np.inf] * 2, "duckdb": [np.inf] * 2}
        for _ in range(rounds):
            made = {}
            for who, work in (("ours", partial(ours, folder)), ("duckdb", partial(rival, folder))):
                clock, cpu, made[who] = timed(work)
                best[who] = [min(best[who][0], clock), min(best[who][1], cpu)]
            check_same(made["ours"], made["duckdb"])
            if python is not None:
                seconds, table = feast(python, folder)
                check_same(made["ours"], table)
                best["feast"] = [min(best.get("feast", [np.inf])[0], seconds)]
    num_rows = num_users * NUM_CANDIDATES
    return {
        "versions": num_versions,
        **{f"{who}_rows_s": round(num_rows / seconds[0]) for who, seconds in best.items()},
        "ratio": round(best["duckdb"][0] / best["ours"][0], 2),
        "ratio_feast": round(best["feast"][0] / best["ours"][0], 2)
        if "feast" in best
        else "not measured: --feast names no Python",
        "ratio_cpu": round(best["duckdb"][1] / best["ours"][1], 2),
    }


def main() -> None:
    """Measure each number of versions, and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--versions", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--feast", metavar="PYTHON", help="a Python that has Feast and DuckDB")
    asked = parser.parse_args()
    for num_versions in asked.versions:
        report = measured(asked.users, num_versions, asked.rounds, asked.feast)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(report | {"peak_mib": round(peak), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
