"""The MMEmb-R1 embedder as the pipeline uses it: contents in, encodings out, in any number.

Inputs are sorted by length and packed into batches of a token budget, so that little of a batch is
padding; a vector does not depend on what it was batched with (to 1e-5 in float32).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from embedder.checkpoint import Checkpoint, load
from embedder.content import Content, Encoding, Policy
from embedder.inputs import Sample
from embedder.pictures import PictureError, open_picture
from embedder.template import TEMPLATE_VERSION
from embedder.thinking import encode_batch
from embedder.version import version_id


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedderConfig:
    """Which model version embeds, and with how much at once."""

    model: str = "nano"
    """`nano`, a folder, or a hub id such as Qwen/Qwen3-VL-4B-Instruct."""

    device: str = "cpu"
    """A torch device: cpu, cuda, cuda:1..."""

    policy: Policy = "auto"
    """`auto` lets the gate decide, `always` reasons about every input, `never` about none."""

    batch_tokens: int = 4096
    """Most tokens of a batch, padding included. Half of it fits where a batch ran out of memory."""

    num_threads: int | None = None
    """CPU threads of torch; None leaves its default."""

    def __post_init__(self) -> None:
        if self.batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, got {self.batch_tokens}")
        if self.policy not in ("auto", "always", "never"):
            raise ValueError(f"policy must be auto, always or never, got {self.policy!r}")


class MMEmbR1:
    """A loaded model version; implements `embedder.content.CatalogueEncoder`."""

    def __init__(self, checkpoint: Checkpoint, config: EmbedderConfig) -> None:
        self._checkpoint = checkpoint
        self._config = config
        self.version = version_id(checkpoint.folder, checkpoint.manifest, config.policy)
        self.dim: int = checkpoint.backbone.model.config.get_text_config().hidden_size

    @classmethod
    def open(cls, config: EmbedderConfig) -> "MMEmbR1":
        """Loads the configured model version."""
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        return cls(load(config.model, device=config.device), config)

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
        """The loaded model, for whoever reads rationales with it (`embedder.given`)."""
        return self._checkpoint

    @property
    def reasoner(self) -> str:
        """Who writes its rationales: this very version."""
        return self.version

    @property
    def prompt_version(self) -> str:
        """Of the template that it thinks in."""
        return str(TEMPLATE_VERSION)

    def refusal(self, content: Content) -> str | None:
        """Why the content cannot be embedded; None when it can."""
        try:
            if content.image is not None:
                open_picture(content.image)
        except PictureError as error:
            return str(error)
        return None

    def encode_query(
        self, queries: Sequence[Content], *, policy: Policy | None = None
    ) -> list[Encoding]:
        """Encodings of queries, in order.

        Args:
            queries: text, pictures or both.
            policy: overrules the configured one for this call.

        Raises:
            embedder.pictures.PictureError: a picture cannot be read.
        """
        manifest = self._checkpoint.manifest
        return self._encode(queries, manifest.query_instruction, policy, None)

    def encode_items(
        self,
        items: Sequence[Content],
        *,
        policy: Policy | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Encoding]:
        """Encodings of items, in order; `progress` is told how many each batch has finished.

        Raises:
            embedder.pictures.PictureError: a picture cannot be read.
        """
        return self._encode(items, self._checkpoint.manifest.item_instruction, policy, progress)

    def _encode(
        self,
        contents: Sequence[Content],
        instruction: str,
        policy: Policy | None,
        progress: Callable[[int], None] | None,
    ) -> list[Encoding]:
        inputs, manifest = self._checkpoint.inputs, self._checkpoint.manifest
        samples = [inputs.sample(content, instruction) for content in contents]
        encodings: dict[int, Encoding] = {}
        for rows in token_budget_batches(samples, self._config.batch_tokens):
            encoded = encode_batch(
                self._checkpoint.backbone,
                inputs,
                [samples[row] for row in rows],
                policy=policy or self._config.policy,
                theta=manifest.theta,
                max_new_tokens=manifest.max_new_tokens,
            )
            encodings.update(zip(rows, encoded, strict=True))
            if progress is not None:
                progress(len(rows))
        return [encodings[row] for row in range(len(contents))]


def token_budget_batches(samples: Sequence[Sample], batch_tokens: int) -> Iterator[list[int]]:
    """Rows of the samples, longest first, in batches whose padded size fits the budget.

    A sample longer than the budget gets a batch of its own. The longest come first, so that a
    budget that does not fit into memory shows at once.
    """
    order = sorted(range(len(samples)), key=lambda row: (-len(samples[row]), row))
    batch: list[int] = []
    for row in order:
        longest = len(samples[batch[0]]) if batch else len(samples[row])
        if batch and longest * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
