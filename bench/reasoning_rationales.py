"""What the variants are taught to think: scripted rationales of known worth, selected or not.

Three workers draw their kinds independently from the same mix (`catalog.bazaar.rationales`). The
judge of the selection is the base model itself.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl

from bench.reasoning_world import NUM_NEAR_MISSES, Asked, with_near_misses
from catalog.atomic_file import write_atomically
from catalog.bazaar.rationales import MIXES, Kind, about_question, draw_kind
from catalog.lake.tables import GENERATED_RATIONALES
from embedder.finetune.rationales.config import JudgingConfig, SelectionConfig
from embedder.finetune.rationales.filters import FilterConfig, flagged_rationales
from embedder.finetune.rationales.generate import ScriptedWorker, contents_of, write_rationales
from embedder.finetune.rationales.judges.self_judge import SelfJudge
from embedder.finetune.rationales.judging import JUDGED, judge_rationales
from embedder.finetune.rationales.negatives import negatives_of
from embedder.finetune.rationales.paired import pair_rationales
from embedder.finetune.rationales.selection import select, training_examples
from embedder.finetune.records import TrainingExample, WeightedRationale
from embedder.reasoners.cache import content_key
from embedder.reasoners.reasoner import Rationale

NUM_WORKERS = 3
NUM_OTHERS = 64
FIRST_WORKER = "writer-0"
MIN_GAIN = 0.5  # nats; on questions that need no reasoning the sign of a gain is a coin

Taught = Literal["nothing", "unselected", "selected", "one_worker", "shuffled"]
"""nothing: the pairs alone. unselected: all that the workers wrote, faults included. selected: what
gains, by posterior weight. one_worker: the same of the first worker alone. shuffled: selected, then
dealt out to other pairs."""


def scripted_kinds(asked: Sequence[Asked], mix: str, *, seed: int) -> dict[str, list[Kind]]:
    """By worker, the kind of each rationale, in the order of the pairs."""
    return {
        f"writer-{number}": [
            draw_kind(MIXES[mix], random.Random(f"kind/{seed}/{number}/{one.pair.pair_id}"))
            for one in asked
        ]
        for number in range(NUM_WORKERS)
    }


def written(asked: Sequence[Asked], mix: str, *, seed: int) -> pl.DataFrame:
    """What the workers write about the queries, as rows of the lake's table `generated_rationales`.

    Pairs with the same query share one rationale a worker: a worker sees the query alone.
    """
    rng = random.Random(f"scripts/{seed}")
    workers = []
    for name, kinds in scripted_kinds(asked, mix, seed=seed).items():
        scripts: dict[str, Rationale] = {}
        for one, kind in zip(asked, kinds, strict=True):
            script = about_question(
                one.riddle.question,
                kind,
                other=_other(one, asked, rng).riddle.question,
                answer=one.answer,
                rng=rng,
            )
            scripts.setdefault(content_key(one.pair.query), Rationale(script.text, script.summary))
        workers.append(ScriptedWorker(scripts, name=name))
    frames: list[pl.DataFrame] = []
    contents = contents_of([one.pair for one in asked], "query")
    write_rationales(
        contents, "query", workers, written=GENERATED_RATIONALES.empty(), append=frames.append
    )
    return pl.concat(frames)


def _other(one: Asked, asked: Sequence[Asked], rng: random.Random) -> Asked:
    while True:
        other = rng.choice(asked)
        if other.riddle.question.summary != one.riddle.question.summary:
            return other


def judgements(
    asked: Sequence[Asked],
    generated_rows: pl.DataFrame,
    judge: SelfJudge,
    folder: Path,
    *,
    seed: int,
) -> pl.DataFrame:
    """What the judge says of every rationale on its pair; what lies in the folder is not redone.

    Rationales that tell id or brand of the target are flagged as leaks and not judged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = sorted(folder.glob("*.parquet"))
    known = pl.concat([JUDGED.to_frame(), *(pl.read_parquet(part) for part in parts)])
    if known["pair_id"].n_unique() == len(asked):
        return known
    pairs = with_near_misses(list(asked), seed=seed)
    names = {one.pair.target_key: set[str]() for one in asked}
    for one in asked:
        names[one.pair.target_key] |= {one.answer.item_id, one.answer.brand}
    paired = pair_rationales(
        pairs, flagged_rationales(generated_rows, FilterConfig()), names=names, sides=("query",)
    )
    fresh: list[pl.DataFrame] = []

    def append(rows: pl.DataFrame) -> None:
        fresh.append(rows)
        path = folder / f"{len(parts) + len(fresh):05d}.parquet"
        write_atomically(path, rows.write_parquet)

    judge_rationales(
        paired,
        judge,
        negatives_of(pairs, num_others=NUM_OTHERS, seed=seed),
        JudgingConfig(num_negatives=NUM_NEAR_MISSES),
        judged=known,
        append=append,
    )
    return pl.concat([known, *fresh])


def examples_of(
    taught: Taught,
    asked: Sequence[Asked],
    generated_rows: pl.DataFrame,
    judged: pl.DataFrame,
    *,
    seed: int,
) -> list[TrainingExample]:
    """A example for every pair, in order; only the query side is reasoned about.

    Args:
        taught: which rationales; anything but `nothing`, for which nobody writes any.
        asked: the pairs.
        generated_rows: from `written`.
        judged: from `judgements`.
        seed: of the shuffling.
    """
    pairs = [one.pair for one in asked]
    if taught == "unselected":
        return _all_of(asked, generated_rows)
    if taught == "one_worker":
        judged = judged.filter(pl.col("worker") == FIRST_WORKER)
    found = training_examples(pairs, select(judged, SelectionConfig(min_gain=MIN_GAIN)))
    return _dealt_out(found, seed=seed) if taught == "shuffled" else found


def _all_of(asked: Sequence[Asked], generated_rows: pl.DataFrame) -> list[TrainingExample]:
    by_key: dict[str, list[WeightedRationale]] = {}
    for row in generated_rows.sort("worker").iter_rows(named=True):
        path = WeightedRationale(row["text"], row["summary"], 1 / NUM_WORKERS, row["worker"])
        by_key.setdefault(row["key"], []).append(path)
    return [TrainingExample(one.pair, tuple(by_key[content_key(one.pair.query)])) for one in asked]


def _dealt_out(found: Sequence[TrainingExample], *, seed: int) -> list[TrainingExample]:
    """The same rationales on other pairs: those that have some hand theirs on in a circle."""
    having = [place for place, example in enumerate(found) if example.query_rationales]
    random.Random(f"shuffle/{seed}").shuffle(having)
    dealt = list(found)
    for place, giver in zip(having, having[1:] + having[:1], strict=True):
        dealt[place] = replace(found[place], query_rationales=found[giver].query_rationales)
    return dealt
