"""Prompts into batches of a token budget, with little padding in them."""

from collections.abc import Iterator, Sequence

from embedder.engine.memory import ShrinkingLimit
from embedder.prompting.sample import Sample


def padded_tokens(samples: Sequence[Sample]) -> int:
    """Count the tokens of the samples as one batch, padding included."""
    return max(len(sample) for sample in samples) * len(samples)


def token_budget_batches(samples: Sequence[Sample], budget: ShrinkingLimit) -> Iterator[list[int]]:
    """Yield rows of the samples in batches of so many tokens, as the budget is when each is drawn.

    Prompts with an image and without do not mix, and the longest of either come first, so that a
    budget that does not fit into memory shows at once. Within a batch, images of one shape stand
    side by side. A sample that is longer than the budget gets a batch of its own.
    """
    order = sorted(
        range(len(samples)),
        key=lambda row: (bool(samples[row].grids), -len(samples[row]), row),
    )
    batch: list[int] = []
    for row in order:
        if batch and not _fits(samples[row], samples[batch[0]], len(batch) + 1, budget.value):
            yield _by_shape(batch, samples)
            batch = []
        batch.append(row)
    if batch:
        yield _by_shape(batch, samples)


def longest_first(samples: Sequence[Sample], *, batch_size: int) -> Iterator[list[int]]:
    """Yield rows of the samples in batches of one size and of about one length."""
    order = sorted(range(len(samples)), key=lambda row: (-len(samples[row]), row))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _fits(sample: Sample, longest: Sample, num_samples: int, tokens: int) -> bool:
    same_kind = bool(sample.grids) == bool(longest.grids)
    return same_kind and len(longest) * num_samples <= tokens


def _by_shape(batch: list[int], samples: Sequence[Sample]) -> list[int]:
    return sorted(batch, key=lambda row: (samples[row].grids, row))
