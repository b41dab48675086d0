"""Configuration of judging and of selection; free of torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgingConfig:
    """What is put before the judge, and who that is."""

    judge: str = "self"
    """`self`: the embedder that is trained, as it was before; `yes_no:MODEL`: a local Qwen-VL model
    (a folder or hub id); `endpoint`, or `endpoint:MODEL`: an OpenAI-compatible endpoint."""

    num_others: int = 64
    """Contents that a pair's partner must be told from, its hard negatives first; for judges that
    compare. More of them judge better; docs/finetuning.md."""

    temperature: float = 0.05
    """Divides the cosines of the judge `self`; dimensionless, > 0."""

    num_negatives: int = 0
    """A rationale's gain is also measured on so many negatives of its pair (SURE finds that 15.7 %
    of UME-R1's rationales help hard negatives more); 0: as MMEmb-R1 is described."""

    against_shuffled: bool = False
    """Each pair is also judged with a rationale that was written about another content. One that
    helps by its looks alone does no better. (Our addition.)"""

    num_controls: int = 256
    """Without `against_shuffled` so many rationales of each source and side are judged so all the
    same, and nothing follows for what is kept: the account says how many do better than one about
    another content, and a share near a half says that they help by their looks. 0: none."""

    refused: frozenset[str] = frozenset({"control", "duplicate", "empty", "leak", "too_long"})
    """Flags with which a rationale is not even judged."""

    def __post_init__(self) -> None:
        if self.num_negatives < 0:
            raise ValueError(f"num_negatives must be at least 0, got {self.num_negatives}")
        if self.num_controls < 0:
            raise ValueError(f"num_controls must be at least 0, got {self.num_controls}")
        if self.num_others < max(1, self.num_negatives):
            raise ValueError(
                f"num_others must be at least 1 and num_negatives, got {self.num_others}"
            )
        if self.temperature <= 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")
        is_known = self.kind in ("self", "yes_no", "endpoint")
        if not is_known or (self.kind == "yes_no" and not self.model):
            raise ValueError(
                f"judge must be self, yes_no:MODEL, endpoint or endpoint:MODEL, got {self.judge!r}"
            )

    @property
    def kind(self) -> str:
        """`self`, `yes_no` or `endpoint`."""
        return self.judge.partition(":")[0]

    @property
    def model(self) -> str:
        """The model that the judge names; empty where it names none."""
        return self.judge.partition(":")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionConfig:
    """What is kept of what was judged."""

    keeps: Literal["gain", "all"] = "gain"
    """`gain`: what gains more than `min_gain`, weighted by it. `all`: whatever was written, flagged
    or not, with equal weights; nobody is asked then."""

    workers: tuple[str, ...] = ()
    """Names of the workers whose rationales may be kept; empty: of all."""

    min_gain: float = 0.0
    """In nats; a rationale must gain more than this."""

    temperature: float = 1.0
    """Divides the gains of the kept rationales before the softmax; > 0."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")
