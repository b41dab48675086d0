"""Configuration of trainings and their losses; free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from embedder.head_config import EmbeddingHeadConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    """Low-rank adapters of the text layers' projections (Hu et al. 2021)."""

    rank: int = 96
    """Of the product that is added to each projection; Embed-RL's value."""

    alpha: int = 192
    """The product is multiplied by alpha / rank."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """Steps, optimiser, schedule and what is trained; each objective's configuration adds to it."""

    num_steps: int
    """Steps of the training; the schedule of the rate ends there."""

    learning_rate: float = 1e-3
    """Peak of AdamW's rate, reached after `warmup_steps`; a cosine then takes it down."""

    warmup_steps: int = 100
    """Steps over which the rate grows linearly."""

    final_rate: float = 0.0
    """What the cosine ends at, as a share of the peak, in [0, 1]."""

    weight_decay: float = 0.05
    """Of matrices; vectors (norms, biases) are not decayed."""

    average_decay: float = 0.99
    """The weights that are kept are a moving average with this decay an update; 0: the last
    ones."""

    max_gradient_norm: float = 1.0
    """Longer gradients are scaled down to this norm."""

    lora: Lora | None = None
    """Low-rank adapters instead of all weights."""

    train_vision_encoder: bool = True
    """Whether the vision encoder is trained; with `lora` it never is."""

    train_audio_encoder: bool = True
    """Whether an audio encoder is trained, where the base has one; with `lora` only one that a
    fine-tune gave to it."""

    seed: int = 0
    """Decides the order of what is learnt and all that is drawn."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "learning_rate", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {self.average_decay}")
        if not 0 <= self.final_rate <= 1:
            raise ValueError(f"final_rate must be in [0, 1], got {self.final_rate}")

    @property
    def trains_vision_encoder(self) -> bool:
        """Whether the vision encoder's weights change: never with `lora`."""
        return self.train_vision_encoder and self.lora is None


@dataclass(frozen=True, kw_only=True, slots=True)
class JointLossConfig:
    """The weights of the losses, and how contrast is taken. A loss of weight 0 costs nothing."""

    direct_direct: float = 1.0
    """Weight of contrast between direct queries and direct targets."""

    reason_reason: float = 1.0
    """Of contrast between reasoned queries and reasoned targets. A side without a rationale stands
    for itself with its direct embedding; pairs where neither side has one are left out."""

    reason_direct: float = 0.5
    """Of contrast between reasoned queries and direct targets, of pairs whose query has a
    rationale. The paper is not known to have it; 0 leaves it out."""

    direct_reason: float = 0.5
    """Of contrast between direct queries and reasoned targets, of pairs whose target has one."""

    next_token: float = 1.0
    """Of the next-token loss on rationales, a mean over all of their tokens behind the gate."""

    gate: float = 0.0
    """Of the loss that teaches the gate to reason where there is a rationale and to answer directly
    elsewhere, both kinds counting the same. It starts the gate's own training warm."""

    gate_confidence: float = 0.9
    """Probability that the gate's labels ask for, in [0.5, 1]. The policy gradient of stage 2 has a
    factor p (1 - p): a gate that was taught to be certain would hardly move again."""

    contrastive_temperature: float = 0.05
    """Divides the cosines; dimensionless, > 0. The family of papers uses 0.02."""

    false_negative_margin: float | None = 0.1
    """Negatives nearer than the own target by more than this are left out (Qwen3-VL-Embedding).
    None: only equal keys are; better for a model that is still wrong about much."""

    chunk_size: int | None = None
    """Queries and targets that are computed with a graph at once; None: the whole batch."""

    def __post_init__(self) -> None:
        contrast = ("direct_direct", "reason_reason", "reason_direct", "direct_reason")
        for name in (*contrast, "next_token", "gate"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if not 0.5 <= self.gate_confidence <= 1:
            raise ValueError(f"gate_confidence must be in [0.5, 1], got {self.gate_confidence}")
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {self.chunk_size}")

    @property
    def needs_direct(self) -> bool:
        """Whether entries that have a rationale are embedded directly as well."""
        return bool(self.direct_direct or self.reason_direct or self.direct_reason)

    @property
    def needs_reasoned(self) -> bool:
        """Whether rationales are read at all."""
        return bool(
            self.reason_reason or self.reason_direct or self.direct_reason or self.next_token
        )

    @property
    def without_contrast(self) -> "JointLossConfig":
        """What a reasoner learns by itself: next tokens and the gate."""
        return replace(
            self, direct_direct=0.0, reason_reason=0.0, reason_direct=0.0, direct_reason=0.0
        )

    @property
    def contrast_alone(self) -> "JointLossConfig":
        """What a head over a frozen reasoner can learn."""
        return replace(self, next_token=0.0, gate=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class JointConfig(TrainingConfig):
    """How a checkpoint is trained on examples."""

    batch_size: int = 64
    """Examples a step, over all processes; the others of a batch are each query's negatives."""

    loss: JointLossConfig = field(default_factory=JointLossConfig)
    """What is minimised."""

    rationale_choice: Literal["drawn", "best"] = "drawn"
    """Which of a side's rationales a step reads: one drawn by weight, anew whenever the example
    comes up, or always the one of the largest weight, the first of equal ones."""

    swap_roles: bool = False
    """In every second step the targets are the queries, so that search works both ways."""

    modality_dropout: float = 0.0
    """Chance of each of a content's text, images, clip and sound to be left out of a step; one of
    them always stays, and hard negatives are whole."""

    source_weights: Mapping[str, float] = field(default_factory=dict)
    """How often a source fills a batch, relative to the others; empty: as often as it has pairs."""

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        if self.batch_size <= 0:
            raise ValueError(f"batch_size must be > 0, got {self.batch_size}")
        if not 0 <= self.modality_dropout <= 1:
            raise ValueError(f"modality_dropout must be in [0, 1], got {self.modality_dropout}")


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadTrainingConfig(EmbeddingHeadConfig):
    """How a training is split: first a reasoner learns, then an embedding head over it, frozen."""

    step_share: float = 0.5
    """Of the steps, the head's, in (0, 1); those before are the reasoner's."""

    learning_rate: float = 1e-3
    """Peak of AdamW's rate for the head."""

    def __post_init__(self) -> None:
        EmbeddingHeadConfig.__post_init__(self)
        if not 0 < self.step_share < 1:
            raise ValueError(f"step_share must be in (0, 1), got {self.step_share}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be > 0, got {self.learning_rate}")

    @property
    def architecture(self) -> EmbeddingHeadConfig:
        """The head alone, as a checkpoint tells of it."""
        return EmbeddingHeadConfig(kind=self.kind, num_layers=self.num_layers)

    def of_reasoner(self, joint: JointConfig) -> JointConfig:
        """Return the reasoner's part of a training: its first steps, without contrast."""
        num_steps = joint.num_steps - self._num_steps(joint)
        return replace(joint, num_steps=num_steps, loss=joint.loss.without_contrast)

    def of_head(self, joint: JointConfig) -> JointConfig:
        """Return the head's part of a training: all other steps, contrast alone."""
        return replace(
            joint,
            num_steps=self._num_steps(joint),
            learning_rate=self.learning_rate,
            loss=joint.loss.contrast_alone,
            lora=None,
            train_vision_encoder=False,
            train_audio_encoder=False,
        )

    def _num_steps(self, joint: JointConfig) -> int:
        return min(joint.num_steps - 1, max(1, round(joint.num_steps * self.step_share)))


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceObjectiveConfig:
    """How much the behaviour space counts."""

    source: str = "behaviour"
    """Name of its instructions in the manifest; without any, it shares the content's space."""

    batch_size: int = 16
    """Sequences a step; each item of them is embedded once."""

    dims: tuple[int, ...] = ()
    """Matryoshka prefixes that are trained to find the next item; empty: the full vector."""

    contrastive_temperature: float = 0.05
    """Divides the cosines between sequences and items; dimensionless, > 0."""

    sequence_weight: float = 1.0
    """Weight of the sequence-to-item loss."""

    id_weight: float = 1.0
    """Weight of the ID-to-item loss."""

    gate_weight: float = 0.1
    """Weight of the loss that teaches the gate to answer directly under this instruction."""

    seed: int = 0
    """Decides the order of the sequences."""

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError(
                f"batch_size must be at least 2, for one sequence has no negatives, got "
                f"{self.batch_size}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceObjectiveConfig:
    """How items learn where behaviour puts them."""

    source: str = "behaviour"
    """Name of the space's instructions in the manifest."""

    batch_size: int = 128
    """Items a step, all different."""

    place_weight: float = 2.0
    """Of 1 - cosine to the place."""

    find_weight: float = 0.5
    """Of finding the own place among the batch's."""

    gate_weight: float = 0.1
    """Of the loss that teaches the gate to answer directly."""

    contrastive_temperature: float = 0.05
    """Divides the cosines to the places; dimensionless, > 0."""

    seed: int = 0
    """Decides which items are drawn."""
