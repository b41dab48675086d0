"""Fine-tunes a model on real product photos and titles, and asks how often it finds one by another.

    python -m bench.fashion --data FOLDER --out FOLDER [--base small]

`--data` is the data set `fashion_products`; `--out` gets the train split as a data folder and the
run's folder (a killed run goes on), by the recipe `fashion` of `ponder finetune`. The test split is
read once, at the end, through the saved version. The rival is the floor
that the data set's README gives, and beside it the same kind of ridge (`bench.fashion_ridge`),
measured here under the same protocol.

Shape legend: Q = queries, N = candidates, D = embedding dimension
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from bench.fashion_ridge import ridge_vectors
from bench.run_folder import check_settings
from embedder.content import Content, Encoding
from embedder.finetune.data.pairs import Pair
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from evaluation.metrics import means, measure
from evaluation.rankings import Rankings
from ponder.finetuning.data_folder import Example, write_data
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.short_options import short_changes
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings

FLOOR = {"text_to_image": 0.750, "image_to_text": 0.595}
"""R@10 on the test split, from the data set's README."""

SCORE_DECIMALS = 6  # equal titles tie, whatever batch they were encoded in
KS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class Split:
    """Products of one split, in order of id."""

    titles: list[str]
    title_keys: list[str]
    """Titles in lower case without punctuation; equal ones name the same product."""

    image_groups: list[int]
    """Equal numbers are the same image."""

    images: list[bytes]

    def same_title(self) -> np.ndarray:
        """Return [N, N] True where two products have the same title."""
        keys = np.array(self.title_keys)
        return keys[:, None] == keys[None, :]


def read_split(folder: Path, name: str) -> Split:
    """Return the split `train`, `valid` or `test` of the data set."""
    items = pl.read_parquet(folder / "items.parquet").filter(pl.col("split") == name)
    images = pl.read_parquet(folder / "images.parquet")
    rows = items.join(images, on="item_id").sort("item_id")
    return Split(*(rows[c].to_list() for c in ("title", "title_key", "image_group", "image")))


def middle_ranks(score_QN: np.ndarray, is_right_QN: np.ndarray) -> np.ndarray:
    """Return [Q] the rank of each query's best right candidate; of equal scores the middle one."""
    score_QN = np.round(score_QN.astype(np.float64), SCORE_DECIMALS)
    best_Q1 = np.where(is_right_QN, score_QN, -np.inf).max(axis=1, keepdims=True)
    num_above_Q = (score_QN > best_Q1).sum(axis=1)
    num_equal_Q = (score_QN == best_Q1).sum(axis=1)
    return num_above_Q + (num_equal_Q + 1) / 2


def recalls(score_QN: np.ndarray, is_right_QN: np.ndarray) -> dict[str, float]:
    """R@k: the share of queries with a right candidate among the first k; and MRR."""
    rank_Q = middle_ranks(score_QN, is_right_QN)
    names = {f"R@{k}": f"hit@{k}" for k in KS} | {"MRR": "mrr"}
    found = means(measure(Rankings.of_places(rank_Q), names.values()))
    return {name: round(found[metric], 4) for name, metric in names.items()}


def evaluate_scores(
    split: Split, *, text_to_image_NN: np.ndarray, image_to_text_NN: np.ndarray
) -> dict[str, dict[str, float]]:
    """Return recalls in both directions, under the floor's protocol and under a variant of each.

    text_to_image         every product's title asks for the images with that title
    text_to_image_own     ... for its own image; others with the same title are wrong
    text_to_image_merged  every distinct title asks once for the images with that title
    image_to_text         every image asks for its own title among all products' titles, equal
                          titles tie; this reproduces the README's floor best
    image_to_text_merged  ... among the distinct titles, as the README asks for

    Args:
        split: the products.
        text_to_image_NN: scores of images (columns) for titles (rows).
        image_to_text_NN: scores of titles (columns) for images (rows).
    """
    same = split.same_title()
    own = np.eye(len(same), dtype=bool)
    first_of_title = [n for n, row in enumerate(same) if not row[:n].any()]
    return {
        "text_to_image": recalls(text_to_image_NN, same),
        "text_to_image_own": recalls(text_to_image_NN, own),
        "text_to_image_merged": recalls(text_to_image_NN[first_of_title], same[first_of_title]),
        "image_to_text": recalls(image_to_text_NN, own),
        "image_to_text_merged": recalls(
            image_to_text_NN[:, first_of_title], same[:, first_of_title]
        ),
    }


def evaluate_embedder(embedder: MMEmbR1, split: Split) -> dict[str, dict[str, float]]:
    """Evaluate a version: queries are encoded as queries and candidates as items."""
    titles = [Content(title) for title in split.titles]
    images = [Content(image=image) for image in split.images]

    def vectors(encodings: Sequence[Encoding]) -> np.ndarray:
        return np.stack([encoding.vector for encoding in encodings])

    return evaluate_scores(
        split,
        text_to_image_NN=vectors(embedder.encode_query(titles))
        @ vectors(embedder.encode_items(images)).T,
        image_to_text_NN=vectors(embedder.encode_query(images))
        @ vectors(embedder.encode_items(titles)).T,
    )


def evaluate_ridge(train_split: Split, split: Split) -> dict[str, dict[str, float]]:
    """Evaluate the ridge from pixels to title vectors; its scores are the same both ways."""
    image_ND, text_ND = ridge_vectors(
        train_split.images, train_split.title_keys, split.images, split.title_keys
    )
    score_NN = text_ND @ image_ND.T
    return evaluate_scores(split, text_to_image_NN=score_NN, image_to_text_NN=score_NN.T)


def write_train(split: Split, folder: Path) -> None:
    """Write each title with its image as a pair; equal titles ask the same, equal images answer."""
    pairs = [
        Pair(Content(title), Content(image=image), key, str(group), pair_id=f"p{number:05d}")
        for number, (title, image, key, group) in enumerate(
            zip(split.titles, split.images, split.title_keys, split.image_groups, strict=True)
        )
    ]
    write_data(folder, [Example(pair) for pair in pairs])


def fine_tuned(split: Split, folder: Path, base: str, changes: Mapping[str, object]) -> Run:
    """Return the run that fine-tuned a base on the train split; it goes on where it was killed."""
    data = folder / "data"
    if not (data / "items.parquet").exists():
        write_train(split, data)
    name = f"{Path(base).name}-fashion"
    told = {"data": str(data), "base": base, "name": name, "pairs.sources": ("given",)}
    config = configured({**changes, **told}, recipe="fashion")
    run = Run.open(Settings(home=folder), config, folder / "run")
    for name in STAGES:
        run_stage(run, name)
        if name == "joint":
            break
    return run


def parsed() -> argparse.Namespace:
    """Return options of the command line."""
    parser = argparse.ArgumentParser(description="Fine-tune on products and measure it.")
    parser.add_argument("--data", type=Path, required=True, help="folder of fashion_products")
    parser.add_argument("--out", type=Path, required=True, help="folder for log, state, version")
    parser.add_argument("--base", default="nano", help="as of `ponder finetune`")
    parser.add_argument("--steps", type=int, help="optimiser steps; without: the recipe's")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--seed", type=int, help="order of pairs, augmentation; likewise")
    return parser.parse_args()


def main() -> None:
    """Fine-tune, open the version and measure it on the test split."""
    options = parsed()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    splits = {name: read_split(options.data, name) for name in ("train", "test")}
    changes = short_changes({"steps": options.steps, "seed": options.seed})
    check_settings(options.out, changes | {"base": options.base})
    run = fine_tuned(splits["train"], options.out, options.base, changes)
    embedder = MMEmbR1.open(EmbedderConfig(model=str(run.version("joint")), policy="never"))
    ours = evaluate_embedder(embedder, splits["test"])
    ridge = evaluate_ridge(splits["train"], splits["test"])
    log = (run.folder / "joint" / "log.jsonl").read_text().splitlines()
    print(
        json.dumps(
            {
                "unit": "R@10 on the test split",
                "ours": {name: ours[name]["R@10"] for name in FLOOR},
                "rival": FLOOR,
                "ratio": {n: round(ours[n]["R@10"] / floor, 3) for n, floor in FLOOR.items()},
                "limit": 1.0,
                "ours_all": ours,
                "ridge_all": ridge,
                "version": embedder.version,
                "train_s": round(sum(json.loads(line)["elapsed_s"] for line in log)),
            }
        )
    )


if __name__ == "__main__":
    main()
