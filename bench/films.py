"""Fine-tunes nano on films and asks what users watched next, and last.

    python -m bench.films --data FOLDER --out FOLDER

`--data` is the data set `movielens_posters`; `--out` gets what may be known as a data folder, the
run's folder (a killed run goes on) and all vectors. The split and its two questions are in
`bench.films_split`, the rivals in `bench.films_rivals`, the recipe is `films` of `ponder finetune`.
With `--valid` the same is done one level deeper, within what the training may know: a recipe is
picked there, and the answers of the test are read by the last run alone.
"""

import argparse
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.films_data import Films, read_films
from bench.films_measure import blended, by_vectors
from bench.films_report import Entry, measured, table
from bench.films_rivals import equal_weights, item_knn, popularity, profile_weights
from bench.films_run import fine_tuned, taught, vectors
from bench.films_split import Questions, Split, split
from bench.run_folder import check_settings
from catalog.atomic_file import write_atomically
from embedder.model.checkpoint import load
from ponder.finetuning.behaviour import BEHAVIOUR
from ponder.finetuning.short_options import short_changes

Vectors = dict[str, np.ndarray]


def all_vectors(films: Films, asking: Sequence[int], version: Path, folder: Path) -> Vectors:
    """Return [films, D] by name: of nano and of the fine-tuned version in both of its spaces.

    Each is kept in the folder as soon as it is there. As queries only the asking films are read;
    the rows of the others are 0.
    """
    everything = range(len(films.item_ids))
    wanted = {
        "nano": ("nano", "", False, everything),
        "nano-query": ("nano", "", True, asking),
        "content": (str(version), "", False, everything),
        "content-query": (str(version), "", True, asking),
        "behaviour": (str(version), BEHAVIOUR, False, everything),
    }
    found = {}
    for name, (model, source, as_query, rows) in wanted.items():
        path = folder / f"{name}.npy"
        if not path.exists():
            contents = [films.contents[row] for row in rows]
            part_ND = vectors(load(model), contents, source=source, as_query=as_query)
            vector_ND = np.zeros((len(films.item_ids), part_ND.shape[1]), np.float32)
            vector_ND[list(rows)] = part_ND
            _save(vector_ND, path)
        found[name] = np.load(path)
    return found


def _save(vector_ND: np.ndarray, path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, vector_ND)
    write_atomically(path, buffer.getvalue())


def last_film_entries(
    films: Films, parts: Split, found: Vectors, teacher_ND: np.ndarray, *, blend: float
) -> dict[str, Entry]:
    """Return what recommends a user's last film; the floors of the README are the first two."""
    asked = parts.last_films
    by_rated = replace(asked, histories=asked.left_out)
    neighbours = item_knn(films, parts.likes, weights=profile_weights)
    behaviour = by_vectors(found["behaviour"])
    return {
        "popularity": Entry(popularity(films, parts.rated), by_rated),
        "item-kNN": Entry(item_knn(films, parts.rated, weights=equal_weights), by_rated),
        "item-kNN, as recall weights": Entry(
            item_knn(films, parts.rated, weights=profile_weights), asked
        ),
        "item-kNN of the same likes": Entry(neighbours, asked),
        "nano": Entry(by_vectors(found["nano"]), asked),
        "nano-films, content": Entry(by_vectors(found["content"]), asked),
        "nano-films, behaviour": Entry(behaviour, asked),
        "item-kNN of the same likes + behaviour": Entry(
            blended(neighbours, behaviour, weight=blend), asked
        ),
        "what behaviour was taught": Entry(by_vectors(teacher_ND), asked),
    }


def next_film_entries(
    films: Films, parts: Split, found: Vectors, *, blend: float
) -> dict[str, Entry]:
    """Return what finds the film liked next by the one before."""
    asked = parts.next_films
    neighbours = item_knn(films, parts.likes, weights=profile_weights)
    behaviour = by_vectors(found["behaviour"])
    scores = {
        "popularity": popularity(films, parts.likes),
        "item-kNN of the same likes": neighbours,
        "nano": by_vectors(found["nano"], found["nano-query"]),
        "nano-films, content": by_vectors(found["content"], found["content-query"]),
        "nano-films, behaviour": behaviour,
        "item-kNN of the same likes + behaviour": blended(neighbours, behaviour, weight=blend),
    }
    return {name: Entry(one, asked) for name, one in scores.items()}


def slices(films: Films, parts: Split, asked: Questions) -> dict[str, np.ndarray]:
    """Return kinds of questions, by whether anyone was known to like the answer and it was."""
    known = set(parts.likes["item_id"])
    is_warm_N = np.array([item in known for item in films.item_ids])
    warm = is_warm_N[asked.answers]
    kinds = {"all": np.ones_like(warm), "warm": warm, "cold": ~warm}
    return kinds if asked.is_liked.all() else kinds | {"liked": asked.is_liked}


def parsed() -> argparse.Namespace:
    """Return options of the command line."""
    parser = argparse.ArgumentParser(description="Fine-tune nano on films and measure it.")
    parser.add_argument("--data", type=Path, required=True, help="folder of movielens_posters")
    parser.add_argument("--out", type=Path, required=True, help="folder for log, state, version")
    parser.add_argument("--valid", action="store_true", help="train and measure before the split")
    parser.add_argument("--steps", type=int, help="optimiser steps; without: the recipe's")
    parser.add_argument("--share", type=float, default=0.9, help="of likes before the split")
    parser.add_argument("--blend", type=float, default=0.2, help="weight of cosines beside kNN")
    parser.add_argument("--seed", type=int, help="order of pairs; without: the recipe's")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    return parser.parse_args()


def main() -> None:
    """Split, fine-tune, embed all films and measure them beside the rivals."""
    options = parsed()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    changes = short_changes({"steps": options.steps, "seed": options.seed})
    check_settings(options.out, changes | {"share": options.share, "valid": options.valid})
    films = read_films(options.data)
    parts = split(films, films.events, share=options.share)
    if options.valid:
        parts = split(films, parts.known, share=options.share)
    run = fine_tuned(films, parts, options.out, changes)
    asking = sorted({film for history in parts.next_films.histories for film in history})
    found = all_vectors(films, asking, run.version("joint"), options.out / "vectors")
    teacher_ND = taught(films, run)
    last = measured(
        last_film_entries(films, parts, found, teacher_ND, blend=options.blend),
        {name: films.candidates[name] for name in ("poster", "trusted")},
        slices(films, parts, parts.last_films),
    )
    following = measured(
        next_film_entries(films, parts, found, blend=options.blend),
        films.candidates,
        slices(films, parts, parts.next_films),
    )
    print(f"## Last film\n{table(last)}\n\n## Next film\n{table(following)}\n")
    print(json.dumps(_summary(last, following, parts, run.folder / "joint" / "log.jsonl")))


def _summary(
    last: dict[str, Any], following: dict[str, Any], parts: Split, path: Path
) -> dict[str, Any]:
    by = last["poster"]["all"]["by"]
    ours, rival = (by[name]["hit@10"][0] for name in ("nano-films, behaviour", "popularity"))
    log = path.read_text().splitlines()
    return {
        "unit": "HR@10 of each user's last film among those with a poster",
        "ours": ours,
        "rival": rival,
        "ratio": round(ours / rival, 3),
        "limit": 1.0,
        "split_at": parts.at.isoformat(),
        "train_s": round(sum(json.loads(line)["elapsed_s"] for line in log)),
        "last_film": last,
        "next_film": following,
    }


if __name__ == "__main__":
    main()
