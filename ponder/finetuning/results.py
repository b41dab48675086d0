"""What the stages of a fine-tune have to say, and how it is kept: as JSON in their `done.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ponder.finetuning.promotion import Check


@dataclass(frozen=True, kw_only=True, slots=True)
class GatheredPairs:
    """Of stage `pairs`."""

    pairs: dict[str, int]
    """By source."""

    left_out: dict[str, int]
    """By source, of sources that have less than a batch."""

    skipped: int
    """Rows whose contents cannot be read."""

    digest: str
    """Of the pairs and of the contents of all items."""

    before: str | None
    """The split (ISO 8601); None where there are no events."""

    read_at: str
    """The moment that the lake was read at (ISO 8601)."""

    sets: tuple[str, ...]
    """Names of the frozen sets to evaluate on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnedVocabulary:
    """Of stage `vocabulary`."""

    new_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MinedNegatives:
    """Of the stages `negatives` and `fresh_negatives`."""

    given: int = 0
    """Hard negatives that the data brought."""

    sources: tuple[dict[str, Any], ...] = ()
    """Rows of `embedder.finetune.data.hard_negatives.REPORT`, where they were mined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GatheredLikes:
    """Of stage `behaviour`."""

    is_learnt: bool
    sequences: int = 0
    placed: int = 0
    """Items that behaviour gives a place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenRationales:
    """Of stage `rationales`."""

    workers: tuple[str, ...]
    """Name and prompt version of each."""

    rationales: int
    """That they wrote."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedRationales:
    """Of stage `judging`."""

    judge: str
    """Its name; empty where nobody was asked."""

    rationales: int
    """On their pairs, refused ones included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectedRationales:
    """Of stage `selection`."""

    judge: str
    min_gain: float
    """In nats."""

    pairs: dict[str, int]
    """`all`, and how many have a rationale on the query's side, on the item's, or on neither."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedTraining:
    """Of the stages `joint` and `gate`."""

    steps: int
    """0: there was nothing to train."""

    processes: int = 1
    examples: int = 0
    reasoned: int = 0
    """Examples that have a rationale."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Of stage `evaluate`."""

    promoted: bool
    """Whether no rule of promotion speaks against the version."""

    checks: tuple[Check, ...]
    thresholds: dict[str, Any]
    """Of `ponder.finetuning.promotion.PromotionConfig`."""

    champion: str
    """Version that the candidate met."""

    opponent: str | None
    """Its name in the registry; None where the base stood in for it."""

    sets: dict[str, Any]
    """By frozen set, what `ponder.finetuning.comparison.compare` found."""

    behaviour: dict[str, Any]
    """By frozen set, what `ponder.finetuning.space_comparison.compare_spaces` found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredVersion:
    """Of stage `register`."""

    name: str
    path: str


Result = (
    GatheredPairs
    | LearnedVocabulary
    | MinedNegatives
    | GatheredLikes
    | WrittenRationales
    | JudgedRationales
    | SelectedRationales
    | FinishedTraining
    | Evaluation
    | RegisteredVersion
)


R = TypeVar("R", bound=Result)


def from_json(kind: type[R], values: Mapping[str, Any]) -> R:
    """Return the result that was kept so.

    Raises:
        ValueError: it is not of this kind.
    """
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"a {kind.__name__} cannot be read: {error}") from error
