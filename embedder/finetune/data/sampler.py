"""Batch sampler: one source a batch, decided by the seed and the step alone.

SAIL-Embedding (section 3.3.3, "stochastic specialisation") draws one data set for every step and
fills the whole batch from it. The negatives of a batch are then comparable, and keys need to be
told apart within one source only. The caller gives the weights, which may be those of
`source_balance` (section 3.1.3).
"""

import random
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar


class Sourced(Protocol):
    """A pair, or something that is made of one."""

    @property
    def source(self) -> str:
        """Where it comes from."""
        ...


T = TypeVar("T", bound=Sourced)


def epoch_rows(num_rows: int, batch_size: int, number: int, *, seed: str) -> list[int]:
    """Return the rows of a numbered batch: each epoch a new order, its incomplete last batch gone.

    Args:
        num_rows: rows to choose from, at least `batch_size`.
        batch_size: rows of a batch.
        number: of the batch, from 0, over all epochs.
        seed: equal seeds give equal orders.
    """
    epoch, position = divmod(number, num_rows // batch_size)
    order = list(range(num_rows))
    random.Random(f"{seed}/epoch/{epoch}").shuffle(order)
    return order[position * batch_size : (position + 1) * batch_size]


class BatchSampler(Generic[T]):
    """Sampler of batches by step, each of pairs of one source; the same after a restart."""

    def __init__(
        self,
        pairs: Sequence[T],
        *,
        batch_size: int,
        seed: int,
        source_weights: Mapping[str, float] | None = None,
    ) -> None:
        """Sort the pairs by source and keep their order within it.

        Args:
            pairs: or examples made of them, of any number of sources.
            batch_size: pairs of a batch.
            seed: decides which source a step gets and the order within the sources.
            source_weights: how often a source is drawn, relative to the others, >= 0; every
                source must have one. None or empty: as often as it has pairs.

        Raises:
            ValueError: a source that is drawn has fewer pairs than a batch, or the weights are not
                those of the sources.
        """
        self._size, self._seed = batch_size, seed
        self._of: dict[str, list[T]] = {}
        for pair in pairs:
            self._of.setdefault(pair.source, []).append(pair)
        self._weights = _checked_weights(self._of, source_weights or {})
        for source, weight in self._weights.items():
            if weight > 0 and len(self._of[source]) < batch_size:
                whose = f" of source {source!r}" if source else ""
                raise ValueError(
                    f"a batch needs {batch_size} pairs, got {len(self._of[source])}{whose}; "
                    "lower batch_size or leave the source out"
                )
        if not any(self._weights.values()):
            raise ValueError(f"a batch needs {batch_size} pairs, got 0; lower batch_size")
        self._turns: list[tuple[str, int]] = []
        self._num_turns = dict.fromkeys(self._weights, 0)

    def at(self, step: int) -> list[T]:
        """Return the pairs of a step; a source shows all of its batches before it repeats one."""
        source, number = self._turn(step)
        pairs = self._of[source]
        # A training without sources keeps the order that it had before there were any.
        seed = f"{self._seed}/{source}" if source else f"{self._seed}"
        return [pairs[row] for row in epoch_rows(len(pairs), self._size, number, seed=seed)]

    def _turn(self, step: int) -> tuple[str, int]:
        """Draw the step's source, and count the batches of it before; drawn in order, then kept."""
        names = list(self._weights)
        weights = list(self._weights.values())
        for earlier in range(len(self._turns), step + 1):
            (name,) = random.Random(f"{self._seed}/source/{earlier}").choices(names, weights)
            self._turns.append((name, self._num_turns[name]))
            self._num_turns[name] += 1
        return self._turns[step]


def _checked_weights(
    of: Mapping[str, Sequence[T]], weights: Mapping[str, float]
) -> dict[str, float]:
    """Return a weight for every source, by name so that the pairs' order does not matter."""
    if not weights:
        return {source: float(len(of[source])) for source in sorted(of)}
    if set(weights) != set(of):
        raise ValueError(
            f"source_weights must name the sources of the pairs, {sorted(of)}, got "
            f"{sorted(weights)}"
        )
    negative = sorted(source for source, weight in weights.items() if weight < 0)
    if negative:
        raise ValueError(
            f"source_weights must be >= 0, got {weights[negative[0]]} for {negative[0]!r}"
        )
    return {source: float(weights[source]) for source in sorted(weights)}
