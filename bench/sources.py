"""Fine-tunes nano-base on a bazaar whose sources lie near to and far from what is asked.

    python -m bench.sources --out FOLDER --seeds 0 1 2

A bazaar of 1,500 items has nine sources: titles with images, two wordings that ask for what no item
shows, what was liked one after the other and together, and riddles of four tiers, the harder ones
fewer, none about a product that is held out. Each step of the training draws one of them: by its
size (`sizes`), all equally often (`even`), or by `balance`, which knows some 560 further riddles
(`balanced`). All else is the same, the product's own `ponder finetune` with contrast of direct
embeddings alone. Asked are the bazaar's own 1,000 questions, and what users liked next; intervals
are of 1,000 resamples of seeds and of the questions of each. `--out` gets data and runs; what a
killed one has done is kept.
"""

import argparse
import json
import logging
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.run_folder import check_settings
from bench.run_intervals import bootstrap_over_runs
from catalog.bazaar import riddles
from catalog.bazaar.generator import BazaarConfig, write_bazaar
from catalog.bazaar.world import Product
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from evaluation.metrics import Scores
from evaluation.query_sets import Query, read_queries, slices, write_queries
from ponder.finetuning.frozen_set import FrozenSet, read_frozen_set
from ponder.finetuning.gathering import AFTER
from ponder.finetuning.recipes import DIRECT, configured
from ponder.finetuning.results import BalancedSources
from ponder.finetuning.run import Run
from ponder.finetuning.short_options import short_changes
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings

ARMS: Mapping[str, Mapping[str, object]] = {
    "sizes": {},
    "even": {"balance.max_weight": 1.0},
    "balanced": {"balance.max_weight": 2.0},
}

BASE = "nano-base"

WORLD_SEED = 7
NUM_RIDDLES = {"literal": 800, "everyday": 800, "indirect": 400, "composed": 400}
NUM_FURTHER = 150
"""Riddles of each tier that balancing knows, but for those that are pairs; none is of the test."""


def write_data(folder: Path) -> None:
    """Write the bazaar, its riddles as pairs and as what will be asked, and two vague wordings."""
    write_bazaar(folder, BazaarConfig(num_items=1_500, num_queries=1_000, seed=WORLD_SEED))
    products = _living_products(folder)
    taken = {query.text for query in read_queries(folder / "queries.jsonl")}
    pairs = list(riddle_rows(products, NUM_RIDDLES, "pairs", taken))
    texts = {row["query_text"] for row in pairs}
    further = riddle_rows(products, dict.fromkeys(NUM_RIDDLES, NUM_FURTHER), "bench", taken)
    write_queries(
        folder / "asked.jsonl",
        [
            Query(
                query_id=row["pair_id"],
                text=row["query_text"],
                tier=row["source"],
                relevant=row["answers"],
            )
            for row in further
            if row["query_text"] not in texts
        ],
    )
    (folder / "wordings.txt").write_text("{category}\n{brand} {category}\n")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))


def _living_products(folder: Path) -> dict[str, Product]:
    """Return what stands behind each item that is still for sale, by its id."""
    items, truth = (
        [json.loads(line) for line in (folder / name).open()]
        for name in ("items.jsonl", "truth.jsonl")
    )
    gone = {row["item_id"] for row in items if row.get("deleted")}
    return {
        row["item_id"]: Product(**{k: v for k, v in row.items() if k != "item_id"})
        for row in truth
        if row["item_id"] not in gone
    }


def riddle_rows(
    products: Mapping[str, Product], num_of: Mapping[str, int], name: str, taken: set[str]
) -> Iterator[dict[str, Any]]:
    """Yield rows of riddles by tier, with every item that answers each.

    None asks what is taken, is about a held-out product, or has a held-out combination of facts.
    """
    rng = random.Random(f"{name}/{WORLD_SEED}")
    ids = [item_id for item_id, product in products.items() if not product.is_held_out]
    seen: set[tuple[str, str]] = set()
    for tier, number in num_of.items():
        found = 0
        while found < number:
            item_id = rng.choice(ids)
            riddle = riddles.ask(products[item_id], tier, rng)  # type: ignore[arg-type]
            question = riddle.question
            if riddle.is_held_out or question.text in taken or (question.text, item_id) in seen:
                continue
            seen.add((question.text, item_id))
            values = sorted(
                (value, str(getattr(question.wanted, value))) for value in question.asked
            )
            yield {
                "pair_id": f"{name}-{tier}-{found:04d}",
                "source": tier,
                "query_text": question.text,
                "query_key": " ".join(f"{value}={is_what}" for value, is_what in values),
                "target_item": item_id,
                "target_key": item_id,
                "answers": sorted(i for i, product in products.items() if question.fits(product)),
            }
            found += 1


def fine_tuned(arm: str, seed: int, folder: Path, num_steps: int) -> Run:
    """Return the run of an arm, trained; it goes on where it was killed."""
    told = {"base": BASE, "data": str(folder / "data"), "behaviour.learns": False}
    short = short_changes({"steps": num_steps, "seed": seed})
    config = configured({**DIRECT, **told, **short, **ARMS[arm]})
    run = Run.open(Settings(home=folder), config, folder / f"{arm}-{seed}")
    for name in STAGES:
        run_stage(run, name)
        if name == "joint":
            return run
    raise AssertionError("there is no stage `joint`")


def scored(model: str, sets: Mapping[str, FrozenSet]) -> dict[str, Scores]:
    """Return what each query of each set scores, answered directly."""
    embedder = MMEmbR1.open(EmbedderConfig(model=model, policy="never", num_threads=1))
    found = {}
    for name, frozen in sets.items():
        queries, items = (
            np.stack([one.vector for one in encodings])
            for encodings in (
                embedder.encode_query(frozen.query_contents),
                embedder.encode_items(list(frozen.contents.values())),
            )
        )
        found[name] = frozen.evaluate(queries, items)
    return found


def frozen_sets(folder: Path) -> dict[str, FrozenSet]:
    """Return the bazaar's questions, and what users liked after the split."""
    return {
        "liked" if path.name.startswith(AFTER) else "asked": read_frozen_set(path)
        for path in sorted((folder / "evaluation").iterdir())
    }


def told(
    scores: Mapping[str, list[dict[str, Scores]]], sets: Mapping[str, FrozenSet]
) -> dict[str, Any]:
    """Return of each arm, set, slice and metric the mean, and the gain over `sizes` and `even`.

    Args:
        scores: by arm, of each seed; every arm has the same seeds.
        sets: what was asked.
    """
    return {
        name: {
            slice_name: {
                metric: _told([[s[name][metric][rows] for s in scores[arm]] for arm in ARMS])
                for metric in scores["sizes"][0][name]
            }
            for slice_name, rows in slices(frozen.queries).items()
        }
        for name, frozen in sets.items()
    }


def _told(values: list[list[np.ndarray]]) -> dict[str, Any]:
    by_arm = dict(zip(ARMS, values, strict=True))
    means = {arm: [round(float(one.mean()), 4) for one in of] for arm, of in by_arm.items()}
    gains = {}
    for arm, over in (("even", "sizes"), ("balanced", "sizes"), ("balanced", "even")):
        pairs = zip(by_arm[arm], by_arm[over], strict=True)
        gain = bootstrap_over_runs([one - other for one, other in pairs])
        gains[f"{arm} - {over}"] = [round(x, 4) for x in (gain.mean, gain.low, gain.high)]
    return {"by_seed": means, "gain": gains}


def means(scores: Mapping[str, Scores], sets: Mapping[str, FrozenSet]) -> dict[str, Any]:
    """Return of each set, slice and metric the mean of one model's scores."""
    return {
        name: {
            slice_name: {m: round(float(of[rows].mean()), 4) for m, of in scores[name].items()}
            for slice_name, rows in slices(frozen.queries).items()
        }
        for name, frozen in sets.items()
    }


def main() -> None:
    """Train every arm with every seed, and print what they find."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of trainings")
    parser.add_argument("--steps", type=int, default=150, help="of each training")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    check_settings(options.out, {"steps": options.steps})
    if not (options.out / "data" / "pairs.jsonl").exists():
        write_data(options.out / "data")
    scores: dict[str, list[dict[str, Scores]]] = {arm: [] for arm in ARMS}
    weights: dict[str, Mapping[str, float]] = {}
    for seed in options.seeds:
        for arm in ARMS:
            run = fine_tuned(arm, seed, options.out, options.steps)
            scores[arm].append(scored(str(run.version("joint")), frozen_sets(options.out)))
            weights[f"{arm}-{seed}"] = run.result("balance", BalancedSources).weights
            asked = scores[arm][-1]["asked"]["ndcg@10"].mean()
            logging.info("%s, seed %d: nDCG@10 %.4f", arm, seed, asked)
    sets = frozen_sets(options.out)
    num = {name: len(frozen.queries) for name, frozen in sets.items()}
    found = told(scores, sets)
    found["base"] = means(scored(BASE, sets), sets)
    print(json.dumps({"unit": "share of questions", "num": num, "weights": weights, **found}))


if __name__ == "__main__":
    main()
