"""What encoding a task's texts and images took, kept beside mteb's results.

mteb leaves out what it has results of; what those cost must then be known as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from catalog.atomic_file import write_atomically
from embedder.content import Side


@dataclass(frozen=True, kw_only=True, slots=True)
class SideCost:
    """What the contents of one side took."""

    num_contents: int = 0
    num_reasoned: int = 0
    num_failed: int = 0
    """Contents that could not be embedded: as documents they are found last, as queries they find
    nothing."""

    rationale_tokens: int = 0
    seconds: float = 0.0
    """From the first content that is read to the last vector."""

    @property
    def reason_rate(self) -> float:
        """Share of the contents that were reasoned about; 0 without any."""
        return self.num_reasoned / max(self.num_contents, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What both sides took."""

    query: SideCost = SideCost()
    item: SideCost = SideCost()
    """Documents, and whatever a task compares without asking: sentences, labels, classes."""


class CostFile:
    """The costs of one task under one policy, by part (split and subset), as they come about."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier run kept.

        Args:
            path: a JSON file; none yet where nothing was run.
        """
        self._path = path
        self._parts: dict[str, Cost] = {}
        if path.exists():
            self._parts = msgspec.json.decode(path.read_bytes(), type=dict[str, Cost])
        self._of_before = set(self._parts)

    def add(self, part: str, side: Side, cost: SideCost) -> None:
        """Count an encoding; the first of a part in this run takes the place of an earlier run's.

        What is counted is kept at once: a run that is killed has lost no cost of a finished part.
        """
        if part in self._of_before:
            self._of_before.remove(part)
            del self._parts[part]
        so_far = self._parts.get(part, Cost())
        summed = total([getattr(so_far, side), cost])
        self._parts[part] = (
            Cost(query=summed, item=so_far.item)
            if side == "query"
            else Cost(query=so_far.query, item=summed)
        )
        write_atomically(self._path, msgspec.json.encode(self._parts))

    @property
    def total(self) -> Cost:
        """The sum over all parts."""
        parts = self._parts.values()
        return Cost(
            query=total(cost.query for cost in parts), item=total(cost.item for cost in parts)
        )


def total(costs: Iterable[SideCost]) -> SideCost:
    """Add up, field by field."""
    given = list(costs)
    names = [field.name for field in fields(SideCost)]
    return SideCost(**{name: sum(getattr(cost, name) for cost in given) for name in names})
