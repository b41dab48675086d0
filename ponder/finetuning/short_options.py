"""Names of their own for the options that are often set: on the command line and in the DAG."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embedder.finetune.training.config import Lora
from ponder.finetuning.config import LAKE, TUNED


@dataclass(frozen=True, slots=True)
class Short:
    """A name of its own for an option that is often set."""

    name: str
    hint: type
    meaning: str
    sets: tuple[str, ...]
    """The options that it sets."""

    minimum: int | None = None

    default: str = "the recipe's"
    """What stands for it where it is not given."""

    def changes(self, value: Any) -> dict[str, object]:
        """Return what setting it sets."""
        if self.name == "lora_rank":
            return _lora_changes(value)
        if self.name == "gate_steps" and value == 0:
            return {"gate": None}
        return dict.fromkeys(self.sets, value)


SHORT = (
    Short("data", str, "A folder, or lake: what the deployment has.", ("data",), default=LAKE),
    Short("name", str, "Of the version, before its id.", ("name",), default=TUNED),
    Short("before", str, "Later events are for evaluation.", ("before",), default="the last tenth"),
    Short("steps", int, "Steps of joint training.", ("joint.num_steps",), 1),
    Short("gate_steps", int, "Steps of the gate's training; 0: none.", ("gate.num_steps",), 0),
    Short("batch_size", int, "Pairs a step of joint training.", ("joint.batch_size",), 1),
    Short("gate_batch_size", int, "Pairs a step of the gate's.", ("gate.batch_size",), 1),
    Short("max_pairs", int, "Pairs of each source, at most.", ("pairs.max_pairs",), 1),
    Short("learning_rate", float, "Peak rate of joint training.", ("joint.learning_rate",)),
    Short("behaviour", bool, "Learn what is liked together as a space.", ("behaviour.learns",)),
    Short("judge", str, "self, yes_no:MODEL, endpoint or endpoint:MODEL.", ("judging.judge",)),
    Short(
        *("lora_rank", int, "Of low-rank adapters; 0 trains all weights."),
        *(("joint.lora.rank", "gate.lora.rank"), 0),
    ),
    Short("seed", int, "Decides what is drawn.", ("seed",), default="0"),
)


def short_changes(values: Mapping[str, Any]) -> dict[str, object]:
    """Return what the short options that are given (not None) set."""
    changes: dict[str, object] = {}
    for short in SHORT:
        if values.get(short.name) is not None:
            changes |= short.changes(values[short.name])
    return changes


def _lora_changes(rank: int) -> dict[str, object]:
    if not rank:
        return {"joint.lora": None, "gate.lora": None}
    lora = Lora(rank=rank, alpha=2 * rank)
    return {
        f"{stage}.lora.{name}": getattr(lora, name)
        for stage in ("joint", "gate")
        for name in ("rank", "alpha")
    }
