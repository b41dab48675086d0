"""What is put before a judge, and what is kept of what it says; free of torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgingConfig:
    """What is put before the judge."""

    num_negatives: int = 0
    """A rationale's gain is also measured on so many negatives of its pair (SURE finds that 15.7 %
    of UME-R1's rationales help hard negatives more); 0: as MMEmb-R1 is described."""

    against_shuffled: bool = False
    """Each pair is also judged with a rationale that was written about another content. One that
    helps by its looks alone does no better. (Our addition.)"""

    refused: frozenset[str] = frozenset({"control", "duplicate", "empty", "leak", "too_long"})
    """Flags with which a rationale is not even judged."""

    def __post_init__(self) -> None:
        if self.num_negatives < 0:
            raise ValueError(f"num_negatives must be at least 0, got {self.num_negatives}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionConfig:
    """What is kept of what was judged."""

    min_gain: float = 0.0
    """In nats; a rationale must gain more than this."""

    temperature: float = 1.0
    """Divides the gains of the kept rationales before the softmax; > 0."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")
