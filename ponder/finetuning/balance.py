"""The stage that weighs sources of pairs by what will be asked: batches come from close ones."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from evaluation.query_sets import Query, QuerySet, answerable
from ponder.finetuning import given
from ponder.finetuning.negatives import encoders_by_source
from ponder.finetuning.results import BalancedSources
from ponder.finetuning.run import Progress, Run

if TYPE_CHECKING:
    from embedder.content import Content, Encoder

NUM_DRAWN = 256
"""Contents of each side of a source, and of each kind of question, that are compared."""

T = TypeVar("T")


def balance(run: Run, progress: Progress) -> BalancedSources:
    """Measure how close each source lies to what will be asked, as the base sees it: `balance`.

    Raises:
        ValueError: it is asked for, and the data bring no question that they can answer.
    """
    from embedder.finetune.data.source_balance import balanced_weights, closeness_by_kind

    if run.config.balance is None:
        return BalancedSources()
    encoder_of = encoders_by_source(run, run.base)
    asked = {
        kind: _vectors(
            encoder_of(""),
            QuerySet(run.contents, questions).query_contents,
            [run.contents[i] for i in _drawn(run, _answers(run, questions), kind)],
        )
        for kind, questions in _questions(run).items()
    }
    found: dict[str, dict[str, float]] = {}
    for source in sorted({pair.source for pair in run.pairs}):
        pairs = _drawn(run, [pair for pair in run.pairs if pair.source == source], source)
        sides = [pair.query for pair in pairs], [pair.target for pair in pairs]
        found[source] = closeness_by_kind(_vectors(encoder_of(source), *sides), asked)
        progress(len(pairs))
    means = {source: float(np.mean(list(kinds.values()))) for source, kinds in found.items()}
    weights = balanced_weights(means, max_weight=run.config.balance.max_weight)
    return BalancedSources(closeness=found, weights=weights)


def _questions(run: Run) -> dict[str, list[Query]]:
    """Return the questions that the data bring by kind, their tier; some are drawn of many."""
    questions = answerable(given.read_asked(run.data_folder), run.contents)
    if not questions:
        raise ValueError(
            "balance needs questions like those that will be asked, got none that the data can "
            f"answer in {run.data_folder / given.ASKED}; write some, or set balance to none"
        )
    kinds: dict[str, list[Query]] = {}
    for question in questions:
        kinds.setdefault(question.tier, []).append(question)
    return {kind: _drawn(run, kinds[kind], kind) for kind in sorted(kinds)}


def _answers(run: Run, questions: Sequence[Query]) -> list[str]:
    """Return the items that can be read and answer one of the questions, sorted by id."""
    return sorted({i for question in questions for i in question.relevant if i in run.contents})


def _drawn(run: Run, found: Sequence[T], name: str) -> list[T]:
    rng = random.Random(f"{run.config.seed}/balance/{name}")
    return rng.sample(found, min(NUM_DRAWN, len(found)))


def _vectors(
    encoder: "Encoder", queries: "Sequence[Content]", targets: "Sequence[Content]"
) -> list[np.ndarray]:
    """Return [N, D] vectors of either side, directly, without reasoning."""
    encodings = (
        encoder.encode_query(queries, policy="never"),
        encoder.encode_items(targets, policy="never"),
    )
    return [np.stack([one.vector for one in side]) for side in encodings]
