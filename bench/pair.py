"""Heads over frozen encoders on real product photos and titles, by `ponder finetune --base pair:`.

    python -m bench.pair --data FOLDER --out FOLDER --text FOLDER --image FOLDER

`--data` is the data set `fashion_products`, and the protocol that of `bench.fashion`. `--out` gets
the train split as a folder of products (id, title, photo), and a run for each seed, by the recipe
`pair`; what comes before the training is the same for every seed and done once. The split that is
measured is encoded by each saved version.

Shape legend: Q = queries, N = candidates
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import torch

from bench.fashion import FLOOR, Split, evaluate_scores, middle_ranks, read_split
from bench.run_folder import check_settings
from bench.run_intervals import bootstrap_over_runs
from embedder.content import Content
from embedder.pair.encoder import PairEncoder
from ponder.finetuning.options import assigned
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings


def write_products(split: Split, folder: Path) -> None:
    """Write the split as a folder that `ponder land` takes: an id, a title and a photo each."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame(
        {
            "item_id": [f"p{number:05d}" for number in range(len(split.titles))],
            "title": split.titles,
            "image": split.images,
            "updated_at": ["2026-01-01T00:00:00Z"] * len(split.titles),
        }
    )
    frame.write_parquet(folder / "items.parquet")


def trained(out: Path, base: str, changes: Mapping[str, object], *, seed: int) -> Run:
    """Return the run of a seed, up to its training; earlier stages are the first one's."""
    settings, folder = Settings(home=out), out / f"run-{seed}"
    first = out / "run-0"
    if folder != first and not folder.exists():
        shutil.copytree(first, folder, ignore=shutil.ignore_patterns("joint", "config.json"))
    told = {"data": str(out / "data"), "name": "pair-fashion", "seed": seed}
    run = Run.start(settings, folder, base=base, changes={**changes, **told})
    for name in STAGES:
        started = time.process_time(), time.monotonic()
        run_stage(run, name)
        print(
            f"seed={seed} stage={name} processor_s={time.process_time() - started[0]:.0f} "
            f"elapsed_s={time.monotonic() - started[1]:.0f}",
            flush=True,
        )
        if name == "joint":
            break
    return run


def scores(encoder: PairEncoder, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return [Q, N] scores of images for titles, and of titles for images.

    An image is read alike as a query and as an item, so it is encoded once.
    """

    def stacked(encode: Callable, contents: list[Content]) -> np.ndarray:
        return np.stack([encoding.vector for encoding in encode(contents)])

    titles = [Content(title) for title in split.titles]
    images_ND = stacked(encoder.encode_items, [Content(image=image) for image in split.images])
    asking_QD = stacked(encoder.encode_query, titles)
    return asking_QD @ images_ND.T, images_ND @ stacked(encoder.encode_items, titles).T


def hits(split: Split, text_to_image: np.ndarray, image_to_text: np.ndarray) -> dict:
    """Return by direction [Q] whether each query finds a right candidate among the first ten."""
    own = np.eye(len(split.titles), dtype=bool)
    ranks = {
        "text_to_image": middle_ranks(text_to_image, split.same_title()),
        "image_to_text": middle_ranks(image_to_text, own),
    }
    return {name: (rank_Q <= 10).astype(np.float64) for name, rank_Q in ranks.items()}


def parsed() -> argparse.Namespace:
    """Return options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of fashion_products")
    parser.add_argument("--out", type=Path, required=True, help="folder for products and runs")
    parser.add_argument("--text", required=True, help="folder or hub id of the text encoder")
    parser.add_argument("--image", required=True, help="folder or hub id of the image encoder")
    parser.add_argument("--seeds", type=int, default=3, help="runs, of the seeds from 0")
    parser.add_argument("--split", default="test", help="what is measured on: valid to choose")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--set", action="append", default=[], help="other values than the recipe's")
    return parser.parse_args()


def main() -> None:
    """Train and measure every seed, and print the means with their intervals."""
    options = parsed()
    torch.set_num_threads(options.threads)
    changes = assigned(options.set)
    check_settings(options.out, {"set": options.set, "models": [options.text, options.image]})
    if not (options.out / "data" / "items.parquet").exists():
        write_products(read_split(options.data, "train"), options.out / "data")
    split, found, tables = read_split(options.data, options.split), [], []
    for seed in range(options.seeds):
        base = f"pair:{options.text},{options.image}"
        run = trained(options.out, base, changes, seed=seed)
        encoder = PairEncoder.open(run.version("joint"))
        text_to_image, image_to_text = scores(encoder, split)
        found.append(hits(split, text_to_image, image_to_text))
        tables.append(
            evaluate_scores(split, text_to_image_NN=text_to_image, image_to_text_NN=image_to_text)
        )
        print(json.dumps({"seed": seed, "version": encoder.version, **tables[-1]}), flush=True)
    result = {
        "unit": f"R@10 on the {options.split} split, mean over {options.seeds} seeds",
        "ours": {n: asdict(bootstrap_over_runs([one[n] for one in found])) for n in FLOOR},
        "rival": FLOOR,
        "ours_all": {
            name: {k: round(float(np.mean([t[name][k] for t in tables])), 4) for k in first}
            for name, first in tables[0].items()
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
