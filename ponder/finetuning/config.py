"""What one fine-tune is asked to do; its stages derive their own configurations from it."""

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.atomic_file import write_atomically
from ponder.registry import CHAMPION, REGISTRY

if TYPE_CHECKING:
    from embedder.finetune.gate.config import GateConfig
    from embedder.finetune.training.config import JointConfig, SequenceObjectiveConfig

LAKE = "lake"


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """A fine-tune from its data to a registered version."""

    base: str = "nano"
    """What to start from: `nano`, a folder, a hub id, or a registered `registry:NAME`."""

    data: str = LAKE
    """A folder as `ponder land` takes it, or `lake`: what the deployment has landed."""

    name: str = "tuned"
    """Human part of the new version's id."""

    before: str = ""
    """Events from this moment on (ISO 8601) are kept for evaluation; empty: the last tenth of the
    positive ones."""

    max_pairs: int = 20_000
    """Of a source; of more, so many are drawn."""

    num_drawn: int = 2
    """Rationales that the base itself draws about each content, each with a seed of its own."""

    temperature: float = 0.7
    """Of what is drawn, > 0."""

    steps: int = 1_000
    """Optimiser steps of joint training."""

    gate_steps: int = 100
    """Optimiser steps of the gate's training; 0 leaves the gate as joint training made it."""

    batch_size: int = 32
    """Pairs a step of joint training. A source with fewer pairs is left out."""

    gate_batch_size: int = 16
    """Pairs a step of the gate's training, at most `batch_size`."""

    learning_rate: float = 1e-4
    """Peak rate of joint training."""

    num_negatives: int = 2
    """Hard negatives of a query; mined with the base, and again with the joint model."""

    behaviour: bool = True
    """Whether the version also learns a behaviour space, from what users liked one after the other.
    It does not where there are too few likes."""

    lora_rank: int = 0
    """Of low-rank adapters; 0 trains all weights of the text layers."""

    seed: int = 0
    """Decides everything that is drawn."""

    def __post_init__(self) -> None:
        if self.base == f"{REGISTRY}{CHAMPION}":
            raise ValueError(
                f"base must name a version that stays one, got {self.base!r}; leave it out to "
                "start from the present champion, or name one, e.g. nano"
            )
        for name in ("max_pairs", "steps", "batch_size", "gate_batch_size", "num_drawn"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.gate_batch_size > self.batch_size:
            raise ValueError(
                f"gate_batch_size must be at most batch_size, {self.batch_size}, got "
                f"{self.gate_batch_size}"
            )
        if self.temperature <= 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")
        for name in ("gate_steps", "num_negatives", "lora_rank"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if self.before and datetime.fromisoformat(self.before).tzinfo is None:
            raise ValueError(f"before must have a time zone, got {self.before!r}; add Z for UTC")

    def joint(self) -> "JointConfig":
        """Of stage 1.

        The vision encoder is left as it is, and the moving average is shorter where steps are few.
        Nothing is taken for a false negative by its score, which the base may have wrong.
        """
        from embedder.finetune.training.config import JointConfig, JointLossConfig, Lora

        return JointConfig(
            num_steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            average_decay=max(0.0, min(0.99, 1 - 10 / self.steps)),
            warmup_steps=min(100, self.steps // 10 + 1),
            loss=JointLossConfig(gate=0.1, false_negative_margin=None),
            lora=Lora(rank=self.lora_rank, alpha=2 * self.lora_rank) if self.lora_rank else None,
            train_vision_encoder=False,
            seed=self.seed,
        )

    def collaborative(self, dims: tuple[int, ...]) -> "SequenceObjectiveConfig":
        """Of the behaviour space, which stage 1 learns beside the content.

        A step reads a quarter as many sequences as pairs, because each has up to 11 items.
        """
        from embedder.finetune.training.config import SequenceObjectiveConfig

        return SequenceObjectiveConfig(
            batch_size=max(2, self.batch_size // 4), dims=dims, seed=self.seed
        )

    def gate(self) -> "GateConfig":
        """Of stage 2."""
        from embedder.finetune.gate.config import GateConfig
        from embedder.finetune.training.config import Lora

        return GateConfig(
            num_steps=self.gate_steps,
            batch_size=self.gate_batch_size,
            lora=Lora(rank=self.lora_rank, alpha=2 * self.lora_rank) if self.lora_rank else None,
            seed=self.seed,
        )


def keep_config(config: FinetuneConfig, folder: Path) -> None:
    """Writes the configuration to the folder of its run, or holds it against the one there.

    Raises:
        ValueError: the run was started with another configuration.
    """
    path = folder / "config.json"
    if not path.exists():
        write_atomically(path, json.dumps(asdict(config), indent=1) + "\n")
        return
    earlier: dict[str, Any] = json.loads(path.read_text())
    changed = [f.name for f in fields(config) if earlier.get(f.name) != getattr(config, f.name)]
    if changed:
        raise ValueError(
            f"a run goes on as it was started; {folder} has other {', '.join(changed)}: "
            f"{[earlier.get(name) for name in changed]}; choose another folder with --out"
        )
