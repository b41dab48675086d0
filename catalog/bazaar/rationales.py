"""A scripted writer of rationales whose worth is known, to test whatever chooses among them.

A rationale describes what is seen, infers, and sums up; how long it is does not depend on how hard
its question is (`observations`). What it is worth is its kind:

right       what follows from the question
wrong       the same, with one value inferred wrongly, and an outcome that goes with it
irrelevant  the right rationale of another question
empty       sounds like reasoning and says nothing
leak        tells the answer's brand, id or title, which the question alone cannot give

A real worker sees one side and cannot leak. The scripted one can, so that leaks can be looked for.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from catalog.bazaar import observations
from catalog.bazaar.questions import Question, summary
from catalog.bazaar.world import COLOURS, COUNTS, PATTERNS, Product

Kind = Literal["right", "wrong", "irrelevant", "empty", "leak"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def _mix(right: float) -> dict[Kind, float]:
    fault = (1 - right) / (len(KINDS) - 1)
    return {kind: right if kind == "right" else fault for kind in KINDS}


MIXES: Mapping[str, Mapping[Kind, float]] = {
    "mild": _mix(0.8),
    "medium": _mix(0.5),
    "severe": _mix(0.25),
}
"""Share of each kind; the faults of a mix have equal shares."""

NOTHING_TO_INFER = "nothing has to be inferred"
EMPTY_SUMMARY = "the thing that is asked for"

VALUES: dict[str, tuple[str | int, ...]] = {
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
    "count": COUNTS,
}


@dataclass(frozen=True, slots=True)
class Script:
    """A rationale and what it is worth."""

    kind: Kind
    text: str
    summary: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a leak gives away: the item that a question was paired with."""

    item_id: str
    title: str
    brand: str


def draw_kind(mix: Mapping[Kind, float], rng: random.Random) -> Kind:
    """A kind, drawn with the shares of the mix."""
    return rng.choices(tuple(mix), tuple(mix.values()))[0]


def about_question(
    question: Question, kind: Kind, *, other: Question, answer: Answer, rng: random.Random
) -> Script:
    """What the scripted writer says about a question.

    Args:
        question: of any tier; `riddles` make them too.
        kind: what the rationale is to be worth.
        other: whose rationale an irrelevant one is; it must ask for something else.
        answer: the item that a leak gives away.
        rng: of chance.

    Raises:
        ValueError: `other` asks for the same.
    """
    if other.summary == question.summary:
        raise ValueError(f"other must ask for something else, got {other.summary!r} twice")
    if kind == "wrong":
        return _wrong(question, rng)
    if kind == "irrelevant":
        return Script(kind, right_rationale(other, rng), other.summary)
    if kind == "empty":
        return _empty(rng)
    if kind == "leak":
        told = _told(question, _leaked(answer, rng), rng)
        return Script(kind, told, question.wanted.name)
    return Script(kind, right_rationale(question, rng), question.summary)


def right_rationale(question: Question, rng: random.Random) -> str:
    """What an honest writer says about a question, summary left out."""
    return _told(question, question.rationale or NOTHING_TO_INFER, rng)


def about_item(
    product: Product, kind: Kind, *, other: Product, asked: str, rng: random.Random
) -> Script:
    """What the scripted writer says about an item.

    Args:
        product: what the item is; everything but a leak could be read off its image.
        kind: what the rationale is to be worth.
        other: whose rationale an irrelevant one is.
        asked: the question that a leak gives away.
        rng: of chance.
    """
    if kind == "empty":
        return _empty(rng)
    if kind == "leak":
        return Script(kind, _seen(product, f"somebody asks for {asked}", rng), product.name)
    seen = product
    if kind == "wrong":
        seen = _changed(product, rng.choice([*VALUES]), rng)
    if kind == "irrelevant":
        seen = other
    return Script(kind, _seen(seen, f"the label says {seen.brand.lower()}", rng), seen.name)


def _told(question: Question, inference: str, rng: random.Random) -> str:
    room = observations.draw_length(rng) - len(inference.split())
    return f"{observations.of_question(question, room=room)}. {inference}"


def _seen(product: Product, inference: str, rng: random.Random) -> str:
    room = observations.draw_length(rng) - len(inference.split())
    return f"{observations.of_product(product, room=room)}. {inference}"


def _empty(rng: random.Random) -> Script:
    sentences = rng.sample(observations.EMPTY, len(observations.EMPTY))
    text = observations.within(sentences, room=observations.draw_length(rng))
    return Script("empty", text, EMPTY_SUMMARY)


def _leaked(answer: Answer, rng: random.Random) -> str:
    return rng.choice(
        (
            f"the answer has the id {answer.item_id}",
            f"the answer is made by {answer.brand.lower()}",
            f"the answer is called {answer.title}",
        )
    )


def _wrong(question: Question, rng: random.Random) -> Script:
    """One inferred value is another; where nothing is inferred, one of those that are named."""
    told = sorted(question.asked - {"noun"})
    inferred = [n for n in told if _conclusion(question.rationale, n, question.wanted)]
    field = rng.choice(inferred or told)
    wrong = _changed(question.wanted, field, rng)
    inference = question.rationale or NOTHING_TO_INFER
    if inferred:
        inference = _with_conclusion(inference, field, question.wanted, wrong)
    return Script("wrong", _told(question, inference, rng), summary(wrong, question.asked))


def _changed(product: Product, field: str, rng: random.Random) -> Product:
    own = getattr(product, field)
    change: dict[str, Any] = {field: rng.choice([v for v in VALUES[field] if v != own])}
    return replace(product, **change)


def _conclusion(rationale: str, field: str, product: Product) -> str:
    """The words in which the rationale tells the value; empty when it does not."""
    value = getattr(product, field)
    ways = [f" is {value}", f" has {value} "] if field == "count" else [f" is {value}"]
    return next((words for words in ways if words in rationale), "")


def _with_conclusion(rationale: str, field: str, product: Product, wrong: Product) -> str:
    words = _conclusion(rationale, field, product)
    told = words.replace(str(getattr(product, field)), str(getattr(wrong, field)))
    before, _, after = rationale.rpartition(words)  # the last time: before it come the premises
    return before + told + after
