"""How well a judge tells right rationales from four faults, on the bazaar's hard questions.

Every question gets one rationale of each kind from the scripted writer, so that the judge sees the
same pair with each. Reported are the AUC of the right ones against each fault, the share of pairs
in which the right one gains more than the faulty one, what selection would keep of each kind, and
how many do better than one of the same kind about another question.

    python bench/selection.py --num-questions 200 --num-others 128

With `--report FOLDER` the page of any selection is written too. The last line is one JSON object
with all numbers.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from catalog.bazaar import questions, wording
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.rationales import KINDS, Answer, Kind, about_question
from catalog.bazaar.world import Product, near_miss, random_product
from catalog.lake.tables import GENERATED_RATIONALES
from embedder.content import Content
from embedder.finetune.data.pairs import Negative, Pair
from embedder.finetune.rationales.config import JudgingConfig, SelectionConfig
from embedder.finetune.rationales.filters import FilterConfig, flagged_rationales
from embedder.finetune.rationales.generate import ScriptedWorker, contents_of, write_rationales
from embedder.finetune.rationales.judges.self_judge import SelfJudge, SelfJudgeConfig
from embedder.finetune.rationales.judging import JUDGED, judge_rationales
from embedder.finetune.rationales.negatives import negatives_of
from embedder.finetune.rationales.paired import pair_rationales
from embedder.finetune.rationales.selection import select
from embedder.model.checkpoint import load
from embedder.prompting.template import item_text
from embedder.reasoners.cache import content_key
from embedder.reasoners.reasoner import Rationale
from evaluation.metrics import auc
from ponder.reports.selection.page import write_selection
from ponder.reports.selection.report import IDENTITY, selection_report

TIERS: tuple[questions.Tier, ...] = ("indirect", "composed")
NUM_MISSES = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the item that it is paired with."""

    question: questions.Question
    answer: Answer
    pair: Pair


def bazaar(num_questions: int, *, seed: int) -> list[Asked]:
    """Return questions of both hard tiers; hard negatives differ from the target in one value."""
    rng = random.Random(seed)
    products = [random_product(rng) for _ in range(num_questions)]
    return [_asked(number, products, rng) for number in range(num_questions)]


def _asked(number: int, products: list[Product], rng: random.Random) -> Asked:
    product = products[number]
    question = questions.ask(product, TIERS[number % len(TIERS)], rng)
    misses = [near_miss(product, rng) for _ in range(NUM_MISSES)]
    negatives = tuple(
        Negative(_item(miss, wording.title(miss, rng), rng), f"{number}/{n}")
        for n, miss in enumerate(misses)
        if not question.fits(miss)
    )
    item_id, title = f"b{number:06d}", wording.title(product, rng)
    pair = Pair(
        Content(question.text),
        _item(product, title, rng),
        query_key=question.text,
        target_key=item_id,
        pair_id=item_id,
        answers=frozenset(f"b{n:06d}" for n in question.answers(products)),
        negatives=negatives,
    )
    return Asked(question, Answer(item_id, title, product.brand), pair)


def _item(product: Product, title: str, rng: random.Random) -> Content:
    return Content(item_text(title, None, product.category), png(draw(product, rng)))


def workers(asked: list[Asked], *, seed: int) -> list[ScriptedWorker]:
    """Return one for each kind, named after it; an irrelevant rationale is the next question's."""
    scripts: dict[Kind, dict[str, Rationale]] = {kind: {} for kind in KINDS}
    rng = random.Random(f"scripts/{seed}")
    for number, one in enumerate(asked):
        following = (*asked[number + 1 :], *asked[:number])
        other = next(
            two.question for two in following if two.question.summary != one.question.summary
        )
        for kind in KINDS:
            script = about_question(one.question, kind, other=other, answer=one.answer, rng=rng)
            key = content_key(one.pair.query)
            scripts[kind][key] = Rationale(script.text, script.summary)
    return [ScriptedWorker(scripts[kind], name=kind) for kind in KINDS]


def judged_kinds(asked: list[Asked], judge: SelfJudge, args: argparse.Namespace) -> pl.DataFrame:
    """Return what selection makes of one rationale of each kind, with `worker` naming the kind."""
    pairs = [one.pair for one in asked]
    written: list[pl.DataFrame] = []
    write_rationales(
        contents_of(pairs, "query"),
        "query",
        workers(asked, seed=args.seed),
        written=GENERATED_RATIONALES.empty(),
        append=written.append,
    )
    names = {one.pair.target_key: (one.answer.item_id, one.answer.brand) for one in asked}
    paired = pair_rationales(
        pairs, flagged_rationales(pl.concat(written), FilterConfig()), names=names
    )
    judged: list[pl.DataFrame] = []
    judge_rationales(
        paired,
        judge,
        negatives_of(pairs, num_others=args.num_others, seed=args.seed),
        JudgingConfig(
            num_negatives=args.num_negatives,
            against_shuffled=args.against_shuffled,
            num_controls=len(paired),
            refused=frozenset(),
        ),
        judged=JUDGED.to_frame(),
        append=judged.append,
    )
    return select(
        pl.concat(judged),
        SelectionConfig(min_gain=args.min_gain),
        against_shuffled=args.against_shuffled,
    )


def measures(selected: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Return by kind mean gain, shares kept, flagged as leak and better than another question's.

    `auc` and `wins` are of the right ones against those of the kind.
    """
    gains = {
        str(kind): frame.sort("pair_id")["gain"].to_numpy()
        for (kind,), frame in selected.group_by("worker")
    }
    measured = {}
    for kind in KINDS:
        rows, gain = selected.filter(pl.col("worker") == kind), gains[kind]
        is_right = np.repeat([1, 0], [len(gains["right"]), len(gain)])
        wins = (gains["right"] > gain) + (gains["right"] == gain) / 2
        measured[str(kind)] = {
            "gain": float(gain.mean()),
            "kept": float(rows["kept"].mean()),
            "own_better": float((((rows["with"] - rows["with_shuffled"]).sign() + 1) / 2).mean()),
            "flagged": float(rows["flags"].list.contains("leak").mean()),
            "auc": auc(is_right, np.concatenate([gains["right"], gain])),
            "wins": float(wins.mean()),
        }
    return measured


def write_page(
    selected: pl.DataFrame, asked: list[Asked], judge: SelfJudge, args: argparse.Namespace
) -> None:
    """Write the page of a selection; each worker's name is the kind that it writes."""
    kinds = selected.select(*IDENTITY, kind="worker").unique()
    pairs = [one.pair for one in asked]
    report = selection_report(
        selected, pairs, judge=judge.name, min_gain=args.min_gain, kinds=kinds
    )
    write_selection(report, args.report)


def main() -> None:
    """Judge, and print the table and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano", help="embedder that judges itself")
    parser.add_argument("--num-questions", type=int, default=200)
    parser.add_argument(
        "--num-others", type=int, default=16, help="contents a pair is held against"
    )
    parser.add_argument("--num-negatives", type=int, default=0, help="of them, for the correction")
    parser.add_argument("--against-shuffled", action="store_true")
    parser.add_argument("--temperature", type=float, default=0.05, help="divides the cosines")
    parser.add_argument("--min-gain", type=float, default=0.0, help="nats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="folder for selection.html")
    args = parser.parse_args()
    asked = bazaar(args.num_questions, seed=args.seed)
    judge = SelfJudge(load(args.model), SelfJudgeConfig(temperature=args.temperature))
    started = time.perf_counter()
    selected = judged_kinds(asked, judge, args)
    elapsed_s = time.perf_counter() - started
    if args.report is not None:
        write_page(selected, asked, judge, args)
    measured = measures(selected)
    print(f"{'kind':<12}{'gain':>8}{'kept':>8}{'better':>8}{'flagged':>9}{'auc':>8}{'wins':>8}")
    for kind, row in measured.items():
        print(
            f"{kind:<12}{row['gain']:>+8.3f}{row['kept']:>8.3f}{row['own_better']:>8.3f}"
            f"{row['flagged']:>9.3f}{row['auc']:>8.3f}{row['wins']:>8.3f}"
        )
    without = selected.unique("pair_id")["without"]
    report = {"kinds": measured, "without": without.mean(), "elapsed_s": round(elapsed_s, 1)}
    print(json.dumps({"settings": vars(args), **report}, default=str))


if __name__ == "__main__":
    main()
