"""What is written about nano's pairs: scripted rationales of known worth, in a data folder.

Three workers draw their kinds independently from the same mix (`catalog.bazaar.rationales`).
"""

import random
from collections.abc import Sequence
from pathlib import Path

from catalog.bazaar.rationales import MIXES, Kind, Script, about_item, about_question, draw_kind
from embedder.reasoners.reasoner import Rationale
from ponder.finetuning.data_folder import Example, write_data
from ponder.nano.riddle_pairs import Asked, with_near_misses

NUM_WORKERS = 3


def write_riddles(folder: Path, asked: Sequence[Asked], mix: str | None, *, seed: int) -> None:
    """Write pairs with their items, near misses for the judge, and what the workers say.

    Args:
        folder: of the data.
        asked: the pairs.
        mix: of the workers; None: nobody writes anything.
        seed: of near misses and workers.
    """
    nothing: list[dict[str, Rationale]] = [{} for _ in asked]
    about_queries = nothing if mix is None else scripted(asked, mix, seed=seed)
    about_items = nothing if mix is None else scripted_about_items(asked, mix, seed=seed)
    pairs = with_near_misses(asked, seed=seed)
    write_data(
        folder,
        [
            Example(pair, of_query, of_item, one.answer.brand)
            for one, pair, of_query, of_item in zip(
                asked, pairs, about_queries, about_items, strict=True
            )
        ],
    )


def scripted_kinds(
    asked: Sequence[Asked], mix: str, *, seed: int, side: str = "query"
) -> dict[str, list[Kind]]:
    """Return by worker the kind of each rationale, in the order of the pairs."""
    about = "kind" if side == "query" else f"kind of {side}"
    return {
        f"writer-{number}": [
            draw_kind(MIXES[mix], random.Random(f"{about}/{seed}/{number}/{one.pair.pair_id}"))
            for one in asked
        ]
        for number in range(NUM_WORKERS)
    }


def scripted(asked: Sequence[Asked], mix: str, *, seed: int) -> list[dict[str, Rationale]]:
    """Return what each worker says about each query, in the order of the pairs.

    Of pairs with the same query a worker's first rationale counts: it sees the query alone.
    """
    rng = random.Random(f"scripts/{seed}")
    said: list[dict[str, Rationale]] = [{} for _ in asked]
    for name, kinds in scripted_kinds(asked, mix, seed=seed).items():
        for of_pair, one, kind in zip(said, asked, kinds, strict=True):
            of_pair[name] = _rationale(_about_query(one, kind, asked, rng))
    return said


def scripted_about_items(
    asked: Sequence[Asked], mix: str, *, seed: int
) -> list[dict[str, Rationale]]:
    """Return what each worker says about each target, in the order of the pairs."""
    rng = random.Random(f"scripts of items/{seed}")
    said: list[dict[str, Rationale]] = [{} for _ in asked]
    for name, kinds in scripted_kinds(asked, mix, seed=seed, side="item").items():
        for of_pair, one, kind in zip(said, asked, kinds, strict=True):
            other = _other(one, asked, rng).product
            script = about_item(one.product, kind, other=other, asked=one.summary, rng=rng)
            of_pair[name] = _rationale(script)
    return said


def _about_query(one: Asked, kind: Kind, asked: Sequence[Asked], rng: random.Random) -> Script:
    other = _other(one, asked, rng)
    if one.question is None or other.question is None:
        return about_item(one.product, kind, other=other.product, asked=one.summary, rng=rng)
    return about_question(one.question, kind, other=other.question, answer=one.answer, rng=rng)


def _other(one: Asked, asked: Sequence[Asked], rng: random.Random) -> Asked:
    """Draw a pair that asks for something else, and in words if this one does."""
    while True:
        other = rng.choice(asked)
        has_words = one.question is None or other.question is not None
        if has_words and other.summary != one.summary:
            return other


def _rationale(script: Script) -> Rationale:
    return Rationale(script.text, script.summary)
