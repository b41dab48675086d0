"""Fine-tunes nano on jingles, and asks what it finds by ear: of each set of modalities, each way.

    python -m bench.jingles --out FOLDER

By the product's own `ponder finetune --recipe jingles` nano is given an audio encoder and learns
three kinds of pairs: a name ("red kite with a rising tune") and the product's title, image and
sound, with the same product under another tune as a hard negative; a tune's name ("a rising tune on
the flute") and its sound; a sound, and the image of a product on whose shelf that instrument plays.
One in six pairs of colour and noun, and one in six of melody and instrument, are kept from training
(of the 36 jingles three, as the hash falls). Names ask for such products, and what is heard is told
of both kinds of jingles. `--out` gets data and run; a killed one goes on.
`--only-preparation` measures, without a training, what it costs to prepare sounds for such a model.
"""

import argparse
import hashlib
import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.preparation import add_what_to_do, preparation
from bench.run_folder import check_settings
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.jingles import (
    INSTRUMENTS,
    MELODIES,
    Jingle,
    PlayedProduct,
    played,
    random_played_product,
    wav,
)
from embedder.content import Content, Encoding
from embedder.finetune.data.pairs import Negative, Pair
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from ponder.finetuning.data_folder import Example, write_data
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings

SHOWN = (
    *("title", "image", "sound", "title+image", "title+sound", "image+sound"),
    "title+image+sound",
)
"""What is told of a product that is asked for; its title is silent about the tune."""

NUM_ASKED = 30
"""Products that are asked for; each has every melody."""

NUM_TAKES = 6
"""How often each jingle is played, when it is looked for by ear."""

NUM_IMAGES = 120
"""Images among which one is looked for by a sound."""

ALL_JINGLES = [
    Jingle(melody, instrument) for melody in MELODIES for instrument in INSTRUMENTS.values()
]


def is_drawn_out(*words: str) -> bool:
    """Return whether a combination is kept from training: one in six."""
    return hashlib.sha256("/".join(words).encode()).digest()[0] % 6 == 0


def is_unseen_product(one: PlayedProduct) -> bool:
    """Return whether its colour and noun are kept from training together."""
    return is_drawn_out(one.product.noun, one.product.colour)


def is_unheard(jingle: Jingle) -> bool:
    """Return whether its melody and instrument are kept from training together."""
    return is_drawn_out(jingle.melody, jingle.instrument)


def drawn(
    number: int, rng: random.Random, wanted: Callable[[PlayedProduct], bool]
) -> list[PlayedProduct]:
    """Return so many products of which a condition holds."""
    found: list[PlayedProduct] = []
    while len(found) < number:
        one = random_played_product(rng)
        if wanted(one):
            found.append(one)
    return found


def sound(jingle: Jingle, seed: int) -> bytes:
    """Return a jingle as it is played once."""
    return wav(played(jingle, random.Random(seed)))


def image(one: PlayedProduct, seed: int) -> bytes:
    """Return a product as it is drawn once."""
    return png(draw(one.product, random.Random(seed)))


def title(one: PlayedProduct) -> str:
    """Return what a product's title says: nothing of its tune."""
    return f"{one.product.colour} {one.product.noun}"


def content(one: PlayedProduct, shown: str, seed: int) -> Content:
    """Return a set of modalities of a product, e.g. `image+sound`."""
    parts = shown.split("+")
    return Content(
        title(one) if "title" in parts else "",
        image(one, seed) if "image" in parts else None,
        audio=sound(one.jingle, seed) if "sound" in parts else None,
    )


def with_other_tune(one: PlayedProduct, rng: random.Random) -> PlayedProduct:
    """Return the same product under another tune that may be met in training."""
    others = [replace(one, melody=melody) for melody in MELODIES if melody != one.melody]
    return rng.choice([other for other in others if not is_unheard(other.jingle)])


def examples(products: Sequence[PlayedProduct]) -> list[Example]:
    """Return three pairs of each product; of every kind equal keys ask the same."""
    rng, made = random.Random(len(products)), []
    for number, one in enumerate(products):
        other = with_other_tune(one, rng)
        hard = Negative(content(other, SHOWN[-1], len(products) + number), other.name)
        heard = Content(audio=sound(one.jingle, 2 * len(products) + number))
        category = one.product.category
        made += [
            Pair(
                Content(one.name),
                content(one, SHOWN[-1], number),
                one.name,
                one.name,
                pair_id=f"n{number:05d}",
                source="names",
                negatives=(hard,),
            ),
            Pair(
                Content(one.jingle.name),
                heard,
                one.jingle.name,
                one.jingle.name,
                pair_id=f"t{number:05d}",
                source="tunes",
            ),
            Pair(
                heard,
                Content(image=image(one, number)),
                category,
                category,
                pair_id=f"i{number:05d}",
                source="images",
            ),
        ]
    return [Example(pair) for pair in made]


def fine_tuned(
    products: Sequence[PlayedProduct], folder: Path, changes: Mapping[str, object]
) -> Run:
    """Return the run that fine-tuned nano; it goes on where it was killed."""
    data = folder / "data"
    if not (data / "items.parquet").exists():
        write_data(data, examples(products))
    told = {
        **{"data": str(data), "name": "nano-jingles"},
        "pairs.sources": ("names", "tunes", "images"),
    }
    config = configured({**changes, **told}, recipe="jingles")
    run = Run.open(Settings(home=folder), config, folder / "run")
    for name in STAGES:
        run_stage(run, name)
        if name == "joint":
            break
    return run


def by_name(embedder: MMEmbR1, asked: Sequence[PlayedProduct], shown: str) -> dict[str, float]:
    """Return how often a name finds the right item, one of the right product, and the right tune.

    `tune@1` is hit@1 among the six items of the product asked for. Where all six look the same, the
    first of them counts, which is right one time in six.
    """
    contents = [content(one, shown, 1_000_000 + n) for n, one in enumerate(asked)]
    score_QN = _scores(embedder, [Content(one.name) for one in asked], contents)
    places = np.arange(len(asked))
    of_product = places // len(MELODIES)
    same_QN = of_product[:, None] == of_product[None, :]
    first_Q = score_QN.argmax(axis=1)
    of_product_Q = np.where(same_QN, score_QN, -np.inf).argmax(axis=1)
    return {
        "hit@1": _share(first_Q == places),
        "product@1": _share(of_product[first_Q] == of_product),
        "tune@1": _share(of_product_Q == places),
    }


def by_ear(embedder: MMEmbR1, shelf: Sequence[PlayedProduct]) -> dict[str, dict[str, float]]:
    """Return how often the right one comes first, by each way between sounds, names and images.

    `heard` are jingles that were met in training, `unheard` the others. Names and sounds are looked
    for among those of all 36 jingles, each played six times; `instrument` and `melody` say how
    often that half of a jingle is right. A sound finds an image, and an image a sound, when the
    instrument is that of the product's shelf.
    """
    names = [Content(jingle.name) for jingle in ALL_JINGLES]
    takes = [n for n in range(len(ALL_JINGLES)) for _ in range(NUM_TAKES)]
    sounds = [
        Content(audio=sound(ALL_JINGLES[n], 2_000_000 + take)) for take, n in enumerate(takes)
    ]
    images = [Content(image=image(one, 3_000_000 + n)) for n, one in enumerate(shelf)]
    jingle_J, take_S = np.arange(len(names)), np.array(takes)
    shelf_I = np.array([one.jingle.instrument for one in shelf])
    shelf_S = np.array([ALL_JINGLES[n].instrument for n in takes])
    seen_S = shelf_I[_first(embedder, sounds, images)] == shelf_S
    shown_I = shelf_S[_first(embedder, images, sounds)] == shelf_I
    return {
        "text to sound": _told_apart(jingle_J, take_S[_first(embedder, names, sounds)]),
        "sound to text": _told_apart(take_S, _first(embedder, sounds, names)),
        "sound to image": _by_hearing(take_S, seen_S),
        "image to sound": {"all": _share(shown_I)},
        "chance": {
            "name": round(1 / len(names), 4),
            "image": _share(shelf_S[:, None] == shelf_I[None, :]),
        },
    }


def _told_apart(asked: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Return how often the jingle that was found is the one asked for, and its halves."""
    instruments, melodies = (
        np.array([getattr(jingle, half) for jingle in ALL_JINGLES])
        for half in ("instrument", "melody")
    )
    return {
        **_by_hearing(asked, asked == found),
        "instrument": _share(instruments[asked] == instruments[found]),
        "melody": _share(melodies[asked] == melodies[found]),
    }


def _by_hearing(asked: np.ndarray, is_right: np.ndarray) -> dict[str, float]:
    """Return how often something is right of jingles that were met in training, and of others."""
    unheard = np.array([is_unheard(jingle) for jingle in ALL_JINGLES])[asked]
    return {"heard": _share(is_right[~unheard]), "unheard": _share(is_right[unheard])}


def prepared(asked: Sequence[PlayedProduct], model: str) -> dict[str, float]:
    """Return what it costs to prepare sounds; see `bench.preparation`."""
    embedder = MMEmbR1.open(EmbedderConfig(model=model, policy="never", num_threads=1))
    return preparation(embedder, [content(one, "sound", n) for n, one in enumerate(asked)])


def _first(embedder: MMEmbR1, queries: Sequence[Content], items: Sequence[Content]) -> np.ndarray:
    """Return the place of the item that comes first for each query."""
    return _scores(embedder, queries, items).argmax(axis=1)


def _scores(embedder: MMEmbR1, queries: Sequence[Content], items: Sequence[Content]) -> np.ndarray:
    return _vectors(embedder.encode_query(queries)) @ _vectors(embedder.encode_items(items)).T


def _vectors(encodings: Sequence[Encoding]) -> np.ndarray:
    return np.stack([encoding.vector for encoding in encodings])


def _share(is_right: np.ndarray) -> float:
    return round(float(np.mean(is_right)), 4)


def asked_for(rng: random.Random) -> list[PlayedProduct]:
    """Return products of different titles that were kept from training, each with every melody."""
    products = {title(one): one for one in drawn(600, rng, is_unseen_product)}
    return [
        replace(one, melody=melody)
        for one in list(products.values())[:NUM_ASKED]
        for melody in MELODIES
    ]


def evaluated(model: str, rng: random.Random) -> dict[str, object]:
    """Return what a version finds: by name of each set of modalities, and by ear."""
    asked = asked_for(rng)
    shelf = drawn(NUM_IMAGES, rng, is_unseen_product)
    embedder = MMEmbR1.open(EmbedderConfig(model=model, policy="never", num_threads=1))
    return {
        "by name": {shown: by_name(embedder, asked, shown) for shown in SHOWN},
        "by ear": by_ear(embedder, shelf),
        "preparation": prepared(asked, model),
    }


def parsed() -> argparse.Namespace:
    """Return options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_what_to_do(parser)
    parser.add_argument("--products", type=int, default=1_000, help="to learn three pairs of each")
    parser.add_argument("--steps", type=int, help="of the run; without: the recipe's")
    parser.add_argument("--dropout", type=float, help="of modalities; without: the recipe's")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0, help="of jingles and of the order of pairs")
    return parser.parse_args()


def main() -> None:
    """Fine-tune, and print what it finds."""
    options = parsed()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.only_preparation:
        asked = asked_for(random.Random(options.seed))
        print(json.dumps({"preparation": prepared(asked, options.only_preparation)}))
        return
    torch.set_num_threads(options.threads)
    settings = {name: getattr(options, name) for name in ("products", "steps", "dropout", "seed")}
    options.out.mkdir(parents=True, exist_ok=True)
    check_settings(options.out, settings)
    rng = random.Random(options.seed)
    learnt = drawn(
        options.products,
        rng,
        lambda one: not is_unseen_product(one) and not is_unheard(one.jingle),
    )
    given = {"joint.num_steps": options.steps, "joint.modality_dropout": options.dropout}
    changes = {name: value for name, value in given.items() if value is not None}
    run = fine_tuned(learnt, options.out, {**changes, "seed": options.seed})
    found = evaluated(str(run.version("joint")), rng)
    print(json.dumps({"unit": "share of queries", **settings, **found}))


if __name__ == "__main__":
    main()
