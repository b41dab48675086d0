"""What is written about the riddles: scripted rationales of known worth, as a data folder has them.

Three workers draw their kinds independently from the same mix (`catalog.bazaar.rationales`).
"""

import random
from collections.abc import Sequence
from pathlib import Path

from bench.data_folder import Example, write_data
from bench.reasoning_world import Asked, with_near_misses
from catalog.bazaar.rationales import MIXES, Kind, about_question, draw_kind
from embedder.reasoners.reasoner import Rationale

NUM_WORKERS = 3
FIRST_WORKER = "writer-0"


def write_riddles(folder: Path, asked: Sequence[Asked], mix: str | None, *, seed: int) -> None:
    """Write riddles with their items, near misses for the judge, and what the workers say.

    Args:
        folder: of the data.
        asked: the pairs.
        mix: of the workers; None: nobody writes anything.
        seed: of near misses and workers.
    """
    said = [{} for _ in asked] if mix is None else scripted(asked, mix, seed=seed)
    pairs = with_near_misses(asked, seed=seed)
    write_data(
        folder,
        [
            Example(pair, rationales, one.answer.brand)
            for one, pair, rationales in zip(asked, pairs, said, strict=True)
        ],
    )


def scripted_kinds(asked: Sequence[Asked], mix: str, *, seed: int) -> dict[str, list[Kind]]:
    """Return by worker the kind of each rationale, in the order of the pairs."""
    return {
        f"writer-{number}": [
            draw_kind(MIXES[mix], random.Random(f"kind/{seed}/{number}/{one.pair.pair_id}"))
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
            script = about_question(
                one.riddle.question,
                kind,
                other=_other(one, asked, rng).riddle.question,
                answer=one.answer,
                rng=rng,
            )
            of_pair[name] = Rationale(script.text, script.summary)
    return said


def _other(one: Asked, asked: Sequence[Asked], rng: random.Random) -> Asked:
    while True:
        other = rng.choice(asked)
        if other.riddle.question.summary != one.riddle.question.summary:
            return other
