"""What match features are worth in several worlds, beside what the true tastes would reach.

    OMP_NUM_THREADS=1 python -m bench.worlds --out FOLDER

Each world is a bazaar of its own seed that goes through the product: landed, embedded, exported,
and asked by `ponder ranker experiment`. One world is one draw, so the intervals are those of the
mean over worlds (Student's t), not over the users of one. What a shopper truly likes of an item,
which decides the clicks but for chance and the place on the page, is scored beside the rankers.

Start the same command again after a kill, and finished worlds are not made again.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import polars as pl
from scipy.stats import t

from bench.run_folder import check_settings
from catalog.bazaar.generator import BazaarConfig, write_bazaar
from catalog.bazaar.shoppers import Shopper
from catalog.bazaar.world import Product
from embedder.codes.config import CodesConfig
from features.export import read_export
from features.groups import in_order
from ponder.cli.embed import embed_all
from ponder.json_form import to_json
from ponder.settings import Settings
from ponder.steps.codes import learn_codes
from ponder.steps.experiment import experiment
from ponder.steps.features import export_features
from ponder.steps.land import land_folder

TRUTH = "true tastes"
METRICS = ("auc", "gauc", "ndcg@10")


def world(
    folder: Path,
    config: BazaarConfig,
    *,
    variants: Sequence[str],
    num_seeds: int,
    codes: CodesConfig,
) -> dict[str, Any]:
    """Return the experiment's report of one world, made where the folder has none.

    Args:
        folder: home of the world.
        config: of the bazaar.
        variants: groups of features, the baseline first; those of `experiment` when there are none.
        num_seeds: rankers of each variant.
        codes: how they are learned, where a variant has features of them.
    """
    settings = Settings(home=folder)
    path, truth = settings.reports_folder / "experiment.json", folder / "truth.parquet"
    if not truth.exists():
        write_bazaar(folder / "bazaar", config)
        land_folder(settings, folder / "bazaar")
        embed_all(settings)
        groups = in_order(",".join(variants).split(","))
        if "codes" in groups:
            learn_codes(settings, codes)
        export_features(settings, groups=groups or None)
        true_scores(folder / "bazaar", settings.features_folder).write_parquet(truth)
    if not path.exists():
        given = [f"{TRUTH}={truth}"]
        experiment(settings, variants=variants, scores=given, num_seeds=num_seeds)
    return dict(json.loads(path.read_text()))


def true_scores(bazaar: Path, export: Path) -> pl.DataFrame:
    """Return what each row's shopper truly likes of its item: request_id, user_id, item_id, score.

    Args:
        bazaar: folder of the world.
        export: folder of its features.
    """
    crowd = {row["user_id"]: Shopper(**row) for row in _rows(bazaar / "tastes.jsonl")}
    products = {row.pop("item_id"): Product(**row) for row in _rows(bazaar / "truth.jsonl")}
    keys = read_export(export).frame.select("request_id", "user_id", "item_id")
    score = [crowd[user].affinity(products[item]) for _, user, item in keys.iter_rows()]
    return keys.with_columns(score=pl.Series(score))


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def over_worlds(found: Sequence[float | None]) -> dict[str, float]:
    """Return the mean, its interval (Student's t, 95 %), and how many worlds had a value.

    Example:
        >>> {name: round(value, 3) for name, value in over_worlds([1.0, None, 3.0]).items()}
        {'mean': 2.0, 'low': -10.706, 'high': 14.706, 'num': 2}
    """
    values = [value for value in found if value is not None]
    num = len(values)
    mean = fmean(values) if values else float("nan")
    half = float(t.ppf(0.975, num - 1)) * stdev(values) / num**0.5 if num > 1 else float("nan")
    return {"mean": mean, "low": mean - half, "high": mean + half, "num": num}


def summary(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return metrics by scoring, and by slice what is gained over the first variant."""
    names = list(reports[0]["overall"]["metrics"])
    metrics = {
        name: {
            m: over_worlds([r["overall"]["metrics"][name][m]["mean"] for r in reports])
            for m in METRICS
        }
        for name in names
    }
    parts = {"all": [r["overall"] for r in reports]}
    for slicing, labels in reports[0]["slices"].items():
        for label in labels:
            parts[f"{slicing}: {label}"] = [
                r["slices"][slicing][label] for r in reports if label in r["slices"][slicing]
            ]
    gains = {
        part: {
            name: over_worlds([one["differences"][name]["gauc"]["mean"] for one in found])
            for name in names[1:]
        }
        for part, found in parts.items()
    }
    alarms = [alarm for r in reports for alarm in r["alarms"]]
    return {"metrics": metrics, "gauc_gain": gains, "alarms": alarms}


def main() -> None:
    """Make the worlds, and print the summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the worlds")
    parser.add_argument("--worlds", type=int, default=5, help="seeds 1, 2, ... of bazaars")
    parser.add_argument("--items", type=int, default=2_000, help="items ever listed, of each")
    parser.add_argument("--users", type=int, default=300, help="shoppers of each")
    parser.add_argument("--seeds", type=int, default=3, help="rankers of each variant and world")
    parser.add_argument("--codes", type=int, default=64, help="of each of three levels")
    parser.add_argument(
        "--variant", action="append", default=[], help="groups with commas between; the base first"
    )
    args = parser.parse_args()
    sizes = {"items": args.items, "users": args.users, "seeds": args.seeds}
    codes = CodesConfig(num_codes=args.codes)
    check_settings(args.out, sizes | {"variants": args.variant, "codes": args.codes})
    reports = [
        world(
            args.out / f"world-{seed}",
            BazaarConfig(num_items=args.items, num_users=args.users, seed=seed),
            variants=args.variant,
            num_seeds=args.seeds,
            codes=codes,
        )
        for seed in range(1, args.worlds + 1)
    ]
    print(to_json(summary(reports)))


if __name__ == "__main__":
    main()
