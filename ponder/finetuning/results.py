"""What the stages of a fine-tune have to say, and how it is kept: as JSON in their `done.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from evaluation.bootstrap import Interval
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
    """Return a digest of the pairs and of the contents of all items."""

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
class BalancedSources:
    """Of stage `balance`; empty where the recipe asks for none."""

    closeness: dict[str, dict[str, float]] = field(default_factory=dict)
    """By source and kind of question, in cosines."""

    weights: dict[str, float] = field(default_factory=dict)
    """How often a source fills a batch of joint training, by source, 1 in the mean."""


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
class ComputedFeatures:
    """Of stage `features`."""

    texts: int = 0
    images: int = 0
    """Different ones; 0 where the base is one model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedTraining:
    """Of the stages `joint`, `embedding_head` and `gate`."""

    steps: int
    """0: there was nothing to train."""

    processes: int = 1
    examples: int = 0
    reasoned: int = 0
    """Examples that have a rationale."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionScores:
    """How one version answers a frozen set, as the deployment would use it."""

    version: str

    reason_rate: float
    """Share of the queries that are reasoned about."""

    metrics: dict[str, dict[str, float]]
    """Slice (all, the tiers, held_out) -> metric -> mean over its queries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A candidate against the champion on one frozen set."""

    digest: str
    """Of the set."""

    num_queries: int
    num_items: int
    candidate: VersionScores
    champion: VersionScores

    gain: dict[str, dict[str, Interval]]
    """Slice -> metric -> mean of candidate minus champion over its queries."""

    sensitivity: dict[str, Any]
    """Of the candidate's reasoned queries to their rationales, over items of the policy: as of
    `ponder.reports.reasoning.account.sensitivity`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceComparison:
    """The behaviour space against others, on what users liked next."""

    digest: str
    """Of the frozen set."""

    num_queries: int

    version: str
    """Of the behaviour space."""

    metrics: dict[str, dict[str, float]]
    """Space, `behaviour` first -> metric -> mean over the queries."""

    gain: dict[str, dict[str, Interval]]
    """Other space -> metric -> mean of behaviour minus the other over the queries."""


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

    sets: dict[str, Comparison]
    """By frozen set."""

    behaviour: dict[str, SpaceComparison]
    """By frozen set of what users did later; empty where there is no behaviour space."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredVersion:
    """Of stage `register`."""

    name: str
    path: str


Result = (
    GatheredPairs
    | LearnedVocabulary
    | BalancedSources
    | MinedNegatives
    | GatheredLikes
    | WrittenRationales
    | JudgedRationales
    | SelectedRationales
    | ComputedFeatures
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
