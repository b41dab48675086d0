"""Match features in batches against the loop over impressions that one writes first.

    python bench/match_features.py

Ours is `features.similarity.similarity_table`, all features of one pass. The rival is numpy, one
impression at a time, and computes four of them (max, mean, last, mean of the nearest three), so it
has less to do. Both get the same vectors, histories and candidates in memory; their common features
must agree to 1e-4 before a time is reported. The limit is the matrix product alone: a request's
candidates times its history.
"""

import json
import os
import time

import numpy as np
import polars as pl

from features.centred_embeddings import CentredEmbeddings
from features.match import MatchConfig
from features.similarity import Groups, similarity_table

NUM_USERS, NUM_CANDIDATES, HISTORY, NUM_ITEMS, DIM = 2_000, 100, 50, 50_000, 256
ROUNDS = 3


def world(seed: int) -> tuple[pl.DataFrame, pl.DataFrame, CentredEmbeddings]:
    """Return impressions, histories and vectors: no candidate is in its user's history."""
    rng = np.random.default_rng(seed)
    vectors_ND = rng.normal(size=(NUM_ITEMS, DIM)).astype(np.float32)
    ids = [f"i{n:05d}" for n in range(NUM_ITEMS)]
    embeddings = pl.DataFrame(
        {"item_id": ids, "vector": vectors_ND.tolist(), "model_version": ["v"] * NUM_ITEMS}
    )
    drawn = [
        rng.choice(NUM_ITEMS, NUM_CANDIDATES + HISTORY, replace=False) for _ in range(NUM_USERS)
    ]
    impressions = pl.DataFrame(
        {
            "request": np.repeat([f"r{u}" for u in range(NUM_USERS)], NUM_CANDIDATES),
            "item_id": [ids[n] for rows in drawn for n in rows[:NUM_CANDIDATES]],
        }
    )
    histories = pl.DataFrame(
        {
            "request": [f"r{u}" for u in range(NUM_USERS)],
            "items": [[ids[n] for n in rows[NUM_CANDIDATES:]] for rows in drawn],
            "ages_h": [list(map(float, range(HISTORY)))] * NUM_USERS,
        },
        schema_overrides={"ages_h": pl.List(pl.Float32)},
    )
    return impressions, histories, CentredEmbeddings.measured(embeddings)


def row_loop(groups: Groups, vectors_ND: np.ndarray, num_rows: int) -> np.ndarray:
    """Return [num_rows, 4] max, mean, last and mean of the nearest three, row by row."""
    found = np.empty((num_rows, 4), dtype=np.float32)
    request = 0
    for row in range(num_rows):
        while groups.first_R[request + 1] <= row:
            request += 1
        cosine = vectors_ND[groups.history[request]] @ vectors_ND[groups.candidate_N[row]]
        nearest = np.partition(cosine, -3)[-3:]
        found[row] = cosine.max(), cosine.mean(), cosine[0], nearest.mean()
    return found


def products(groups: Groups, vectors_ND: np.ndarray) -> None:
    """Do the matrix products alone."""
    for request, history in enumerate(groups.history):
        rows = groups.candidate_N[groups.first_R[request] : groups.first_R[request + 1]]
        vectors_ND[rows] @ vectors_ND[history].T


def main() -> None:
    """Alternate ours, rival and limit, and keep the best of each."""
    config = MatchConfig()
    impressions, histories, centred = world(seed=0)
    groups = Groups.of(impressions, histories, centred, slots=config.slots)
    names = config.similarity_names()
    common = [names.index(n) for n in ("match_max", "match_mean", "match_last", "match_top3_mean")]
    num_rows = len(impressions)
    best = dict.fromkeys(("ours", "rival", "limit"), float("inf"))
    for _ in range(ROUNDS):
        for name, work in (
            (
                "ours",
                lambda: similarity_table(
                    groups,
                    centred,
                    top_k=config.top_k,
                    half_lives_h=config.half_lives_h,
                    num_tiers=config.num_tiers,
                ),
            ),
            ("rival", lambda: row_loop(groups, centred.vectors_ND, num_rows)),
            ("limit", lambda: products(groups, centred.vectors_ND)),
        ):
            started = time.perf_counter()
            result = work()
            best[name] = min(best[name], time.perf_counter() - started)
            if name == "ours":
                ours = np.asarray(result)[:, common]
            elif name == "rival":
                np.testing.assert_allclose(ours, result, atol=1e-4)
    print(
        json.dumps(
            {
                "unit": "impressions/s",
                "ours": round(num_rows / best["ours"]),
                "rival": round(num_rows / best["rival"]),
                "ratio": round(best["rival"] / best["ours"], 2),
                "limit": round(num_rows / best["limit"]),
                "share_of_limit": round(best["limit"] / best["ours"], 3),
                "load": os.getloadavg()[0],
            }
        )
    )


if __name__ == "__main__":
    main()
