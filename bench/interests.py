"""What searching a history by several interests finds beside a search by its mean.

    python -m bench.interests .ponder/demo/lake

Of every user the newest fifth of the likes is held out, and looked for among the candidates that
the older ones give, by exact search. The last line is JSON: by number of interests (0 is the mean,
`interests: 1` of the service) and depth, the share that is found, with half a 95 % interval over
users, and the number of different categories among the first 20 candidates.
"""

import argparse
import json
from collections.abc import Sequence

import numpy as np
import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import EMBEDDINGS, EVENTS, ITEMS
from features.histories import HistoryConfig, positive_events
from features.profile import ProfileConfig, profile_vector
from recall.fusion import interleaved
from recall.interests import interests

DEPTHS = (10, 100)
NUM_INTERESTS = (0, 2, 3, 4, 8)


class Catalogue:
    """The vectors of one model version; N = items, D = dimension."""

    def __init__(self, lake: Lake, version: str | None) -> None:
        embedded = lake.read(EMBEDDINGS, ["item_id", "model_version", "vector"])
        self.version = version or embedded["model_version"].mode().sort()[0]
        mine = embedded.filter(model_version=self.version).unique("item_id", keep="first")
        known = mine.join(lake.read(ITEMS, ["item_id", "category", "deleted"]), on="item_id")
        living = known.filter(~pl.col("deleted")).sort("item_id")
        self.ids = living["item_id"].to_list()
        self.row_of = {item_id: row for row, item_id in enumerate(self.ids)}
        self.categories = dict(living.select("item_id", "category").iter_rows())
        self.vectors_ND = np.array(living["vector"].to_list(), dtype=np.float32)

    def nearest(self, vector_D: np.ndarray, seen: Sequence[int], depth: int) -> list[str]:
        """Return the nearest items, those seen left out."""
        score_N = self.vectors_ND @ vector_D
        score_N[list(seen)] = -np.inf
        return [self.ids[row] for row in np.argsort(-score_N, kind="stable")[:depth]]


def candidates(catalogue: Catalogue, history: Sequence[str], num: int) -> list[str]:
    """Return the candidates of a history, newest first, by so many interests."""
    rows = [catalogue.row_of[item_id] for item_id in history]
    vectors_HD, depth = catalogue.vectors_ND[rows], max(DEPTHS)
    half_life = ProfileConfig().half_life
    if not num:
        profile = profile_vector(vectors_HD, half_life=half_life)
        return catalogue.nearest(profile, rows, depth)
    found = interests(vectors_HD, half_life=half_life, max_interests=num)
    lists = [catalogue.nearest(vectors_HD[one.row], rows, depth) for one in found]
    weights = [one.weight for one in found]
    return [item_id for item_id, _ in interleaved(lists, weights, limit=depth)]


def measured(catalogue: Catalogue, likes: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Return what each number of interests finds."""
    shares: dict[tuple[int, str], list[float]] = {}
    for _, mine in likes.group_by("user_id", maintain_order=True):
        items = [item_id for item_id in mine["item_id"] if item_id in catalogue.row_of]
        split = len(items) - max(1, len(items) // 5)
        wanted = set(items[split:]) - set(items[:split])
        history = list(dict.fromkeys(items[:split][::-1]))[: ProfileConfig().max_history]
        if not history or not wanted:
            continue
        for num in NUM_INTERESTS:
            ranked = candidates(catalogue, history, num)
            for depth in DEPTHS:
                found = len(wanted & set(ranked[:depth])) / len(wanted)
                shares.setdefault((num, f"found@{depth}"), []).append(found)
            different = len({catalogue.categories[item_id] for item_id in ranked[:20]})
            shares.setdefault((num, "categories@20"), []).append(different)
    result: dict[str, dict[str, float]] = {"users": {"num": len(shares[0, f"found@{DEPTHS[0]}"])}}
    for (num, name), values in shares.items():
        told = result.setdefault(f"interests {num}", {})
        told[name] = round(float(np.mean(values)), 4)
        told[f"{name} ±"] = round(float(1.96 * np.std(values) / np.sqrt(len(values))), 4)
    return result


def main() -> None:
    """Measure, and print the result as the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lake")
    parser.add_argument(
        "--version", help="model version; the one with the most vectors unless said"
    )
    args = parser.parse_args()
    lake = Lake(args.lake)
    catalogue = Catalogue(lake, args.version)
    likes = positive_events(lake.read(EVENTS), config=HistoryConfig())
    result = measured(catalogue, likes.sort("user_id", "ts", "item_id"))
    print(json.dumps({"version": catalogue.version, **result}))


if __name__ == "__main__":
    main()
