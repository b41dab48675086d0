"""A lake's items and vectors, and what searching them exactly ought to find."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from catalog.lake.tables import EMBEDDINGS, ITEMS
from recall.exact import ExactIndex

DAY = datetime(2026, 1, 1, tzinfo=UTC)
QUERY = np.array([[1.0, 0.0]])


def land(lake, *, at=0, deleted=False, content="c", version="v1", **vectors):
    """Land items of the given vectors as of minute `at`, embedded unless the vector is None."""
    items = pl.DataFrame(
        [
            {
                "item_id": item_id,
                "tags": [],
                "attributes": "{}",
                "created_at": DAY,
                "updated_at": DAY + timedelta(minutes=at),
                "deleted": deleted,
                "content_hash": f"{content}-{item_id}",
            }
            for item_id in vectors
        ],
        schema=ITEMS.schema,
    )
    lake.upsert_items(items)
    embed(
        lake,
        version=version,
        **{f"{content}-{i}": (i, v) for i, v in vectors.items() if v is not None},
    )


def embed(lake, *, version="v1", **vectors):
    rows = [
        {
            "item_id": item_id,
            "content_hash": content_hash,
            "model_version": version,
            "vector": list(map(float, vector)),
            "action": "direct",
            "gate_probability": 0.0,
            "rationale_tokens": 0,
        }
        for content_hash, (item_id, vector) in vectors.items()
    ]
    lake.insert_new(EMBEDDINGS, pl.DataFrame(rows, schema=EMBEDDINGS.schema))


def opened(lake, tmp_path, live="v1"):
    return ExactIndex(lake, tmp_path / "vectors", lambda: live)


def ranked(frame):
    return [(i, round(s, 4)) for i, s in frame.select("item_id", "recall_score").iter_rows()]


def brute_force(names, vectors_ND, query_D, *, limit, allowed=None):
    query_D = query_D.astype(np.float64) / np.linalg.norm(query_D)
    scores = np.round(vectors_ND.astype(np.float64) @ query_D, 6)
    best = sorted(
        (-score, name)
        for score, name in zip(scores, names, strict=True)
        if allowed is None or name in allowed
    )
    return [name for _, name in best[:limit]]
