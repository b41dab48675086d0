"""Fine-tunes nano on clips that move, and asks what it finds by the motion that no frame shows.

    python -m bench.clips --out FOLDER

By the product's own `ponder finetune --recipe clips` nano learns pairs of a name ("red kite
rising") and a clip, each with the clip of an equal product that moves otherwise as a hard negative;
and beside it the same pairs with first frames in place of clips. Asked are names of products whose
colour and noun were never met together in training, among clips of each of them moving in every
way: whoever sees the first frame alone finds the product, and its motion by chance, one in six.
`--out` gets data and runs; a killed one goes on. `--only-preparation nano` measures, without a
training, what it costs to prepare clips and images for nano.
"""

import argparse
import hashlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from bench.preparation import add_what_to_do, preparation
from bench.run_folder import check_settings
from catalog.bazaar.drawing import png
from catalog.bazaar.motion import MOTIONS, MovingProduct, film, gif, random_moving_product
from embedder.content import Content, Encoding
from embedder.finetune.data.pairs import Negative, Pair
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from ponder.finetuning.data_folder import Example, write_data
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings

SHOWN = ("clip", "first frame")
NUM_ASKED = 40
"""Products that are asked for; each moves in every way."""


def is_held_out(moving: MovingProduct) -> bool:
    """Return whether its colour and noun are kept from training together: one pair in six."""
    pair = f"{moving.product.noun}/{moving.product.colour}"
    return hashlib.sha256(pair.encode()).digest()[0] % 6 == 0


def drawn(number: int, *, held_out: bool, rng: random.Random) -> list[MovingProduct]:
    """Return so many products of which all or none are held out."""
    found: list[MovingProduct] = []
    while len(found) < number:
        moving = random_moving_product(rng)
        if is_held_out(moving) is held_out:
            found.append(moving)
    return found


def asked_for(rng: random.Random) -> list[MovingProduct]:
    """Return held-out products of different names, each with every motion."""
    by_name = {
        one.product.colour + one.product.noun: one.product
        for one in drawn(400, held_out=True, rng=rng)
    }
    return [
        MovingProduct(p, motion) for p in list(by_name.values())[:NUM_ASKED] for motion in MOTIONS
    ]


def content(moving: MovingProduct, shown: str, seed: int) -> Content:
    """Return what is shown of a product; of one seed the clip and its first frame."""
    frames = film(moving, random.Random(seed))
    return Content(clip=gif(frames)) if shown == "clip" else Content(image=png(frames[0]))


def write_train(products: Sequence[MovingProduct], shown: str, folder: Path) -> None:
    """Write a pair of each product's name and what is shown of it; equal names ask the same."""
    rng = random.Random(len(products))
    examples = []
    for number, one in enumerate(products):
        motion = rng.choice([motion for motion in MOTIONS if motion != one.motion])
        other = content(MovingProduct(one.product, motion), shown, len(products) + number)
        pair = Pair(
            Content(one.name),
            content(one, shown, number),
            one.name,
            str(number),
            pair_id=f"p{number:05d}",
            negatives=(Negative(other, f"{number}-1"),),
        )
        examples.append(Example(pair))
    write_data(folder, examples)


def fine_tuned(
    products: Sequence[MovingProduct], shown: str, folder: Path, changes: Mapping[str, object]
) -> Run:
    """Return the run that fine-tuned nano; it goes on where it was killed."""
    data = folder / "data"
    if not (data / "items.parquet").exists():
        write_train(products, shown, data)
    told = {"data": str(data), "name": "nano-clips", "pairs.sources": ("given",)}
    config = configured({**changes, **told}, recipe="clips")
    run = Run.open(Settings(home=folder), config, folder / "run")
    for name in STAGES:
        run_stage(run, name)
        if name == "joint":
            break
    return run


def evaluated(model: str, products: Sequence[MovingProduct], shown: str) -> dict[str, float]:
    """Return how often a name finds the right clip first, and how often one of the right product.

    `motion@1` is hit@1 among the six clips of the product asked for.
    """
    embedder = MMEmbR1.open(EmbedderConfig(model=model, policy="never", num_threads=1))
    contents = [content(one, shown, 1_000_000 + n) for n, one in enumerate(products)]
    item_ND = _vectors(embedder.encode_items(contents))
    query_QD = _vectors(embedder.encode_query([Content(one.name) for one in products]))
    score_QN = query_QD @ item_ND.T
    of_product = np.arange(len(products)) // len(MOTIONS)
    same_QN = of_product[:, None] == of_product[None, :]
    first_Q = score_QN.argmax(axis=1)
    first_of_product_Q = np.where(same_QN, score_QN, -np.inf).argmax(axis=1)
    places = np.arange(len(products))
    return {
        "hit@1": round(float((first_Q == places).mean()), 4),
        "product@1": round(float((of_product[first_Q] == of_product).mean()), 4),
        "motion@1": round(float((first_of_product_Q == places).mean()), 4),
    }


def prepared(products: Sequence[MovingProduct], model: str) -> dict[str, dict[str, float]]:
    """Return what it costs to prepare clips and their first frames; see `bench.preparation`."""
    embedder = MMEmbR1.open(EmbedderConfig(model=model, policy="never", num_threads=1))
    return {
        shown: preparation(embedder, [content(one, shown, n) for n, one in enumerate(products)])
        for shown in SHOWN
    }


def _vectors(encodings: Sequence[Encoding]) -> np.ndarray:
    return np.stack([encoding.vector for encoding in encodings])


def parsed() -> argparse.Namespace:
    """Return options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_what_to_do(parser)
    parser.add_argument("--pairs", type=int, default=6_000, help="names to learn")
    parser.add_argument("--steps", type=int, help="of each run; without: the recipe's")
    parser.add_argument("--batch-size", type=int, help="pairs of a step; without: the recipe's")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0, help="of clips and of the order of pairs")
    return parser.parse_args()


def main() -> None:
    """Fine-tune twice, and print what each finds."""
    options = parsed()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.only_preparation:
        asked = asked_for(random.Random(options.seed))
        print(json.dumps({"preparation": prepared(asked, options.only_preparation)}))
        return
    torch.set_num_threads(options.threads)
    settings = {"pairs": options.pairs, "steps": options.steps, "seed": options.seed}
    options.out.mkdir(parents=True, exist_ok=True)
    check_settings(options.out, settings)
    rng = random.Random(options.seed)
    learnt = drawn(options.pairs, held_out=False, rng=rng)
    asked = asked_for(rng)
    short = {"joint.num_steps": options.steps, "joint.batch_size": options.batch_size}
    changes = {name: value for name, value in short.items() if value is not None}
    changes |= {"seed": options.seed}
    found = {"preparation": prepared(asked, "nano"), "untrained": evaluated("nano", asked, "clip")}
    for shown in SHOWN:
        run = fine_tuned(learnt, shown, options.out / shown.replace(" ", "-"), changes)
        found[shown] = evaluated(str(run.version("joint")), asked, shown)
        print(json.dumps({shown: found[shown]}), flush=True)
    told = {"unit": "share of names; frames/s", "num_asked": len(asked)}
    print(json.dumps({**told, **settings, **found}))


if __name__ == "__main__":
    main()
