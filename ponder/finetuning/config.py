"""What one fine-tune is asked to do, as the stages read it; recipes fill it in.

The sections `judging`, `selection`, `joint` and `gate` are the very configurations of
`embedder.finetune`, so what a recipe says is what a training does.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from embedder.finetune.data.augmentation import Augmentation
from embedder.finetune.gate.config import GateConfig
from embedder.finetune.rationales.config import JudgingConfig, SelectionConfig
from embedder.finetune.training.config import (
    HeadTrainingConfig,
    JointConfig,
    PlaceObjectiveConfig,
    SequenceObjectiveConfig,
)
from embedder.pair.config import HeadsConfig
from embedder.prompting.audio_config import AudioEncoderConfig
from embedder.reasoners.reasoner import Side
from embedder.version import Readout
from ponder.registry import CHAMPION, REGISTRY

LAKE = "lake"
TUNED = "tuned"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsConfig:
    """Which pairs are learned from."""

    sources: tuple[str, ...] = ()
    """Sources of pairs by name, those of wordings as `attributes`; empty: all that the data
    have."""

    max_pairs: int = 20_000
    """Of a source; of more, so many are drawn. Pairs that the data bring are all taken."""

    def __post_init__(self) -> None:
        if self.max_pairs < 1:
            raise ValueError(f"pairs.max_pairs must be at least 1, got {self.max_pairs}")


@dataclass(frozen=True, kw_only=True, slots=True)
class VocabularyConfig:
    """How the version reads texts of another domain."""

    num_tokens: int = 0
    """New tokens at most, learned from the data's texts; 0: the base's vocabulary."""

    min_count: int = 5
    """Pairs of tokens that stand in the texts less often are left apart."""

    max_text_tokens: int = 0
    """A text is cut after so many tokens; 0: where the base cuts it."""

    def __post_init__(self) -> None:
        for name in ("num_tokens", "max_text_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"vocabulary.{name} must be >= 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class BalanceConfig:
    """How often each source fills a batch of joint training: by how close it lies to what is asked.

    The data bring questions like those that will be asked, in `asked.jsonl`.
    """

    max_weight: float = 2.0
    """Weight of the source that lies closest, at least 1, where all have 1 in the mean; the others
    follow from how far they lie behind. 1: all the same, whatever they hold."""

    def __post_init__(self) -> None:
        if self.max_weight < 1:
            raise ValueError(f"balance.max_weight must be at least 1, got {self.max_weight}")


@dataclass(frozen=True, kw_only=True, slots=True)
class NegativesConfig:
    """Hard negatives: targets of the same source that come close to a query without being right."""

    num_mined: int = 3
    """Of a query, mined with the base; unused where the data bring theirs."""

    trains: bool = False
    """Whether joint training and the gate's replay contrast with them too, the latter with fresh
    ones; the judge always does."""

    def __post_init__(self) -> None:
        if self.num_mined < 0:
            raise ValueError(f"negatives.num_mined must be >= 0, got {self.num_mined}")


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourConfig:
    """A second space of the version, learned from what users liked one after the other."""

    learns: bool = True
    """Whether it is learned; it never is where there are fewer sequences than a batch."""

    instructions: tuple[str, str] = (
        "What does someone who likes this like next?",
        "Who likes this item?",
    )
    """What a query and an item are read with in this space."""

    max_dim: int = 64
    """Of the behaviour vectors that an item's place comes from; docs/finetuning.md."""

    popularity_share: float = 0.0
    """How much of the most popular item's behaviour vector says that it is popular, in [0, 1)."""

    objective: SequenceObjectiveConfig = field(default_factory=SequenceObjectiveConfig)
    """What is minimised."""

    places: PlaceObjectiveConfig | None = None
    """What is minimised in place of `objective`: items are drawn for themselves, and not in the
    sequences of users, and learn the places that behaviour gives them."""

    def __post_init__(self) -> None:
        if self.max_dim < 1:
            raise ValueError(f"behaviour.max_dim must be at least 1, got {self.max_dim}")
        if not 0 <= self.popularity_share < 1:
            raise ValueError(
                f"behaviour.popularity_share must be in [0, 1), got {self.popularity_share}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RationalesConfig:
    """Who writes rationales, beside those that the data bring, and about what."""

    sides: tuple[Side, ...] = ("query",)
    """Sides of the pairs that are reasoned about."""

    num_drawn: int = 2
    """Rationales that the base itself draws about each content, each with a seed of its own."""

    temperature: float = 0.7
    """Of what is drawn, > 0."""

    def __post_init__(self) -> None:
        if self.num_drawn < 0:
            raise ValueError(f"rationales.num_drawn must be >= 0, got {self.num_drawn}")
        if self.temperature <= 0:
            raise ValueError(f"rationales.temperature must be > 0, got {self.temperature}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """A fine-tune from its data to a registered version; `recipes.configured` makes one."""

    recipe: str
    """Where the values come from: a named recipe or a file of one."""

    base: str = "nano"
    """What to start from: `nano`, a folder, a hub id, a registered `registry:NAME`, or
    `pair:TEXT,IMAGE`, a folder or hub id of two encoders that stay as they are."""

    data: str = LAKE
    """A folder as `ponder land` takes it, or `lake`: what the deployment has landed."""

    name: str = TUNED
    """Human part of the new version's id."""

    before: str = ""
    """Events from this moment on (ISO 8601) are kept for evaluation; empty: the last tenth of the
    positive ones."""

    seed: int = 0
    """Decides everything that is drawn."""

    keep_image_features: bool = True
    """Whether features of images are computed once and kept in memory, where the vision encoder is
    left alone and images are not varied."""

    half_precision: bool = False
    """Whether the version's weights are stored in float16, as nano's are; else as they were
    trained."""

    pairs: PairsConfig
    """What is learned from."""

    vocabulary: VocabularyConfig
    """How texts are read."""

    balance: BalanceConfig | None = None
    """Weights of sources by what will be asked, in place of `joint.source_weights`; None: these, or
    the sources' sizes."""

    negatives: NegativesConfig
    """What a query must be told apart from."""

    behaviour: BehaviourConfig
    """The second space."""

    rationales: RationalesConfig
    """What is written."""

    judging: JudgingConfig
    """What is judged, by whom."""

    selection: SelectionConfig
    """What is kept."""

    joint: JointConfig
    """Stage 1: the joint training."""

    audio: AudioEncoderConfig | None = None
    """An audio encoder that a base without one is given, and that joint training then trains;
    None: the base stays as it is."""

    augmentation: Augmentation | None = None
    """How contents are varied in joint training; None: they are read as they are, as rationales
    need it, which speak of a content as it was."""

    readout: Readout | None = None
    """Where joint training and the version read vectors: `at` the embedding token, at the token
    `before` it, or the `mean` of both states; None: as the base does."""

    embedding_head: HeadTrainingConfig | None = None
    """Splits joint training: the model first learns to reason, and is then frozen while a head over
    its states learns to embed; None: one model learns both at once."""

    gate: GateConfig | None = None
    """Stage 2: the gate's training; None leaves the gate as joint training made it."""

    heads: HeadsConfig | None = None
    """What joint training trains over a base of frozen encoders; None: the base is one model."""

    def __post_init__(self) -> None:
        if self.base == f"{REGISTRY}{CHAMPION}":
            raise ValueError(
                f"base must name a version that stays one, got {self.base!r}; leave it out to "
                "start from the present champion, or name one, e.g. nano"
            )
        if self.gate is not None and self.gate.batch_size > self.joint.batch_size:
            raise ValueError(
                f"gate.batch_size must be at most joint.batch_size, {self.joint.batch_size}, got "
                f"{self.gate.batch_size}"
            )
        if self.balance is not None and self.joint.source_weights:
            raise ValueError(
                "balance measures the weights of sources, got joint.source_weights as well; leave "
                "one of them out"
            )
        if self.heads is not None:
            self._check_heads()
        if self.embedding_head is not None:
            self._check_embedding_head()
        if self.before and datetime.fromisoformat(self.before).tzinfo is None:
            raise ValueError(f"before must have a time zone, got {self.before!r}; add Z for UTC")

    def _check_heads(self) -> None:
        """Refuse what heads cannot learn, rather than leave it out in silence."""
        asked = {
            "vocabulary.num_tokens": self.vocabulary.num_tokens,
            "vocabulary.max_text_tokens": self.vocabulary.max_text_tokens,
            "balance": self.balance,
            "negatives.num_mined": self.negatives.num_mined,
            "negatives.trains": self.negatives.trains,
            "behaviour.learns": self.behaviour.learns,
            "rationales.num_drawn": self.rationales.num_drawn,
            "joint.lora": self.joint.lora,
            "audio": self.audio,
            "joint.modality_dropout": self.joint.modality_dropout,
            "augmentation": self.augmentation,
            "readout": self.readout,
            "embedding_head": self.embedding_head,
            "gate": self.gate,
        }
        if others := [name for name, value in asked.items() if value]:
            raise ValueError(
                "heads learn by the contrast of direct embeddings alone, got "
                f"{', '.join(others)} as well; start from the recipe `pair`, or set heads to none"
            )

    def _check_embedding_head(self) -> None:
        """Refuse what a head over a frozen reasoner cannot learn, or what would change that."""
        asked = {"audio": self.audio, "behaviour.learns": self.behaviour.learns, "gate": self.gate}
        if others := [name for name, value in asked.items() if value]:
            raise ValueError(
                "an embedding head learns the contrast of pairs over a reasoner that stays as it "
                f"is, got {', '.join(others)} as well; start from the recipe `unified`, or set "
                "embedding_head to none"
            )
        if self.joint.num_steps < 2:
            raise ValueError(
                "joint.num_steps must be at least 2, for reasoner and embedding head, got "
                f"{self.joint.num_steps}"
            )

    @property
    def seeded(self) -> "FinetuneConfig":
        """The same with the run's seed in every section that draws."""
        places = self.behaviour.places
        behaviour = replace(
            self.behaviour,
            objective=replace(self.behaviour.objective, seed=self.seed),
            places=places and replace(places, seed=self.seed),
        )
        return replace(
            self,
            behaviour=behaviour,
            joint=replace(self.joint, seed=self.seed),
            gate=self.gate and replace(self.gate, seed=self.seed),
        )
