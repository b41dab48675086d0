"""The MMEmb-R1 embedder as the pipeline uses it: contents in, encodings out, in any number."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

import torch

from embedder.base_encoder import BaseEncoder
from embedder.content import Answer, Content, Policy, Side, nothing_left
from embedder.engine.continuous_queries import ContinuousQueries
from embedder.engine.decoding import SelfDecoder
from embedder.engine.engine import Engine
from embedder.engine.gating import Decoder, Gate, Task
from embedder.engine.prefetch import Prefetch
from embedder.model.checkpoint import Checkpoint, load
from embedder.precision import AskedDtype
from embedder.prompting.images import image_problem
from embedder.prompting.template import TEMPLATE_VERSION
from embedder.version import version_id

CPU_BATCH_TOKENS = 768  # larger ones fall out of the cache; measured in docs/embedder.md
GPU_BATCH_TOKENS = 16_384
CPU_WORKERS, GPU_WORKERS = 2, 16
CPU_SLOW_WINDOW = 16  # the first window is waited for, and a small one is there sooner
GPU_UNREAD_BATCHES = 1  # so that it is at one while the host builds the next
SHARED_HIDDEN_SIZE = 512
"""Below it a second thread gains little, and beside other work two threads wait for each other:
nano on two busy cores embeds five times slower with two than with one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedderConfig:
    """Which model version embeds, and with how much at once."""

    model: str = "nano"
    """`nano`, a folder, or a hub id such as Qwen/Qwen3-VL-4B-Instruct."""

    device: str = "cpu"
    """A torch device: cpu, cuda, cuda:1..."""

    dtype: AskedDtype = "auto"
    """What the weights are loaded as: `auto` is float32 on a CPU and bfloat16 elsewhere."""

    policy: Policy = "auto"
    """`auto` lets the gate decide, `always` reasons about every input, `never` about none."""

    query_theta: float | None = None
    """From this gate probability on `auto` reasons about a query; above 1: about none. None: from
    the version's own theta on."""

    item_theta: float | None = None
    """The same of items, whose vectors are stored: it is part of the id that they carry."""

    batch_tokens: int | None = None
    """Most tokens of a batch, padding included; it shrinks by itself where memory runs out. None:
    768 on a CPU, 16,384 on a GPU."""

    window: int = 512
    """Contents that are prepared ahead and sorted by length together; two windows are in memory.
    Beside threads on a CPU a window has 16 clips and sounds at most."""

    num_workers: int | None = None
    """Threads that prepare contents ahead of the model. None: on a GPU one a core, 16 at most; on a
    CPU two, if the model leaves a core free. There they prepare clips and sounds alone: these wait
    for the process that decodes them, and for all else the model would wait for its threads."""

    num_processes: int = 1
    """Processes that embed on this machine, of which each has its share of the cores."""

    num_slots: int | None = None
    """Rationales that are decoded at once. None: 256, of a larger model on a CPU 128."""

    num_threads: int | None = None
    """CPU threads of torch. None: one for a model whose matrices are too small to be shared, else
    torch's default."""

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "window", "num_processes", "num_slots"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.num_workers is not None and self.num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, got {self.num_workers}")
        if self.policy not in get_args(Policy):
            raise ValueError(f"policy must be auto, always or never, got {self.policy!r}")

    @property
    def is_on_cpu(self) -> bool:
        """Whether the model runs where the contents are prepared."""
        return torch.device(self.device).type == "cpu"


class MMEmbR1(BaseEncoder):
    """A loaded model version; implements `embedder.content.CatalogueEncoder`."""

    def __init__(
        self, checkpoint: Checkpoint, config: EmbedderConfig, *, decoder: Decoder | None = None
    ) -> None:
        """Wraps a loaded checkpoint.

        Args:
            checkpoint: the model version.
            config: how it is used.
            decoder: reasons where the gate says so; None: the model itself.
        """
        self._checkpoint = checkpoint
        self._config = config
        self._decoder = decoder or _self_decoder(checkpoint, config)
        self._engine = _engine(checkpoint, config, self._decoder)
        self.version = version_id(
            checkpoint.folder,
            checkpoint.manifest,
            config.policy,
            item_theta=config.item_theta,
            dtype=checkpoint.dtype,
        )
        self.dim: int = checkpoint.hidden_size

    @classmethod
    def open(cls, config: EmbedderConfig) -> "MMEmbR1":
        """Loads the configured model version."""
        checkpoint = load(config.model, device=config.device, dtype=config.dtype)
        num_threads = config.num_threads
        if num_threads is None and checkpoint.hidden_size < SHARED_HIDDEN_SIZE:
            num_threads = 1
        if num_threads is not None:
            torch.set_num_threads(num_threads)
        return cls(checkpoint, config)

    @property
    def dims(self) -> tuple[int, ...]:
        """Prefixes that the version was trained for, ascending, the last one being `dim`."""
        return self._checkpoint.manifest.dims or (self.dim,)

    @property
    def name(self) -> str:
        """The human part of the version's id."""
        return self._checkpoint.manifest.name

    @property
    def checkpoint(self) -> Checkpoint:
        """The loaded model, for whoever reads rationales with it (`reasoners.given_rationales`)."""
        return self._checkpoint

    @property
    def reasoner(self) -> str:
        """Who writes its rationales: this very version."""
        return self.version

    @property
    def prompt_version(self) -> str:
        """Of the template that it reasons in."""
        return str(TEMPLATE_VERSION)

    @property
    def waited_s(self) -> float:
        """Seconds that the model has waited so far for contents to be drawn and prepared."""
        return self._engine.waited_s

    def refusal(self, content: Content) -> str | None:
        """Return why the content cannot be embedded; None when it can."""
        for image in (content.image, *content.gallery):
            if (problem := image_problem(image)) is not None:
                return problem
        inputs = self._checkpoint.inputs
        if (problem := inputs.clips.problem(content.clip)) is not None:
            return problem
        if inputs.audio is None:
            return nothing_left(content, self.name, reads_clips=True)
        return inputs.audio.problem(content.audio)

    def _answers(
        self,
        contents: Iterable[Content],
        side: Side,
        *,
        policy: Policy | None,
        deadline: float | None,
        max_new_tokens: int | None,
    ) -> Iterator[tuple[int, Answer]]:
        task = self._task(side, policy)
        task = replace(task, deadline=deadline, max_new_tokens=max_new_tokens)
        return self._engine.answers(contents, task)

    def query_batch(self) -> ContinuousQueries | None:
        """Open a batch that queries join while others are decoded; None with another reasoner."""
        if not isinstance(self._decoder, SelfDecoder):
            return None
        return ContinuousQueries(
            self._engine,
            self._checkpoint.inputs,
            self._decoder,
            lambda policy: self._task("query", policy),
        )

    def _task(self, side: Side, policy: Policy | None) -> Task:
        instruction = self._checkpoint.manifest.instruction(side)
        theta = self._config.query_theta if side == "query" else self._config.item_theta
        return Task(side, instruction, policy or self._config.policy, theta=theta)


def _engine(checkpoint: Checkpoint, config: EmbedderConfig, decoder: Decoder) -> Engine:
    backbone, inputs, manifest = checkpoint.backbone, checkpoint.inputs, checkpoint.manifest
    on_cpu = config.is_on_cpu
    return Engine(
        Gate(backbone, inputs, theta=manifest.theta),
        inputs,
        decoder,
        batch_tokens=config.batch_tokens or (CPU_BATCH_TOKENS if on_cpu else GPU_BATCH_TOKENS),
        prefetch=_prefetch(config),
        num_unread=0 if on_cpu else GPU_UNREAD_BATCHES,
    )


def _prefetch(config: EmbedderConfig) -> Prefetch:
    num_workers = config.num_workers
    if num_workers is None:
        num_workers = default_workers(
            is_on_cpu=config.is_on_cpu,
            num_cores=(os.cpu_count() or 1) // config.num_processes,
            num_threads=torch.get_num_threads(),
        )
    slow_window = CPU_SLOW_WINDOW if config.is_on_cpu and num_workers else None
    return Prefetch(window=config.window, num_workers=num_workers, slow_window=slow_window)


def default_workers(*, is_on_cpu: bool, num_cores: int, num_threads: int) -> int:
    """Return how many threads prepare beside the model, where nobody says.

    Args:
        is_on_cpu: whether the model runs where contents are prepared.
        num_cores: of the machine, for this process.
        num_threads: of the model, on a CPU.
    """
    if not is_on_cpu:
        return max(1, min(GPU_WORKERS, num_cores))
    return CPU_WORKERS if num_threads < num_cores else 0


def _self_decoder(checkpoint: Checkpoint, config: EmbedderConfig) -> SelfDecoder:
    # There is no error to go by where a CPU's memory is taken up by keys and values.
    is_large = config.is_on_cpu and checkpoint.hidden_size >= SHARED_HIDDEN_SIZE
    return SelfDecoder(
        checkpoint.backbone,
        checkpoint.inputs,
        max_new_tokens=checkpoint.manifest.max_new_tokens,
        num_slots=config.num_slots or (128 if is_large else 256),
    )
