"""A judge that is an embedder: what a rationale does to its own retrieval.

The log-odds are those of picking the partner out of the partner and the others of an input, by a
softmax over cosines:

    z = cos(about, partner) / T - log sum_n exp(cos(about, other_n) / T)

A rationale changes the vector of what it is about and no other. (Our reconstruction: MMEmb-R1's
evaluator is said to be a larger model. This one needs no second model, knows how to read the
rationales of its own template, and cannot be better than its embedder.)

Shape legend: N = inputs, D = embedding dimension
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from embedder.content import Content, Encoding, Side
from embedder.finetune.rationales.judges.judge import JudgeInput
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint
from embedder.reasoners.cache import content_key
from embedder.reasoners.given_rationales import encode_with_rationales
from embedder.reasoners.reasoner import Rationale

OTHER_SIDE: dict[Side, Side] = {"query": "item", "item": "query"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfJudgeConfig:
    """How cosines become odds."""

    temperature: float = 0.05
    """Divides the cosines; dimensionless, > 0. What the embedder was trained with is a good one."""

    batch_size: int = 16
    """Sequences of one forward with rationales."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


class SelfJudge:
    """Judges with an embedder; implements `embedder.finetune.rationales.judges.judge.Judge`.

    Direct vectors are kept for as long as it lives: D float32 for every content that it has seen.
    A vector does not depend on its batch to 1e-5, so log-odds do not to 2e-5 / T.
    """

    def __init__(self, checkpoint: Checkpoint, config: SelfJudgeConfig) -> None:
        """Wrap a loaded checkpoint.

        Args:
            checkpoint: whose manifest holds the instructions to read with; for pairs of a source
                that has its own, `manifest.for_source`.
            config: how cosines become odds.
        """
        self._checkpoint = checkpoint
        self._config = config
        device = str(checkpoint.backbone.device)
        self._encoder = MMEmbR1(checkpoint, EmbedderConfig(policy="never", device=device))
        self.name = f"self:{self._encoder.version}/T{config.temperature:g}"
        self._direct: dict[Side, dict[str, np.ndarray]] = {"query": {}, "item": {}}

    def log_odds(self, judge_inputs: Sequence[JudgeInput]) -> np.ndarray:
        """Return [N] log-odds of the partner against the others, in nats.

        Raises:
            ValueError: an input has no others; there is nothing to compare with.
        """
        alone = sum(not judge_input.others for judge_input in judge_inputs)
        if alone:
            raise ValueError(
                "a judge that compares must be given others, got none in "
                f"{alone} of {len(judge_inputs)} inputs; raise num_others of the negatives"
            )
        self._encode_directly(judge_inputs)
        about_ND = self._about(judge_inputs)
        return np.array(
            [
                self._odds(judge_input, vector_D)
                for judge_input, vector_D in zip(judge_inputs, about_ND, strict=True)
            ]
        )

    def _odds(self, judge_input: JudgeInput, about_D: np.ndarray) -> float:
        vectors = self._direct[OTHER_SIDE[judge_input.side]]
        partners = [
            vectors[content_key(content)] for content in (judge_input.partner, *judge_input.others)
        ]
        cosines = np.stack(partners).astype(np.float64) @ about_D.astype(np.float64)
        scaled = cosines / self._config.temperature
        return float(scaled[0] - np.logaddexp.reduce(scaled[1:]))

    def _about(self, judge_inputs: Sequence[JudgeInput]) -> np.ndarray:
        """Return [N, D] vectors of what the rationales are about, with them where there are any."""
        told: dict[tuple[Side, str, Rationale], Content] = {
            (
                judge_input.side,
                content_key(judge_input.about),
                judge_input.rationale,
            ): judge_input.about
            for judge_input in judge_inputs
            if judge_input.rationale is not None
        }
        reasoned: dict[tuple[Side, str, Rationale], np.ndarray] = {}
        for side in OTHER_SIDE:
            keys = [key for key in told if key[0] == side]
            if keys:
                vectors = self._read([told[key] for key in keys], [key[2] for key in keys], side)
                reasoned.update(zip(keys, vectors, strict=True))
        return np.stack(
            [
                self._direct[judge_input.side][content_key(judge_input.about)]
                if judge_input.rationale is None
                else reasoned[
                    judge_input.side, content_key(judge_input.about), judge_input.rationale
                ]
                for judge_input in judge_inputs
            ]
        )

    def _read(
        self, contents: Sequence[Content], rationales: Sequence[Rationale], side: Side
    ) -> np.ndarray:
        return encode_with_rationales(
            self._checkpoint,
            contents,
            rationales,
            side=side,
            batch_size=self._config.batch_size,
        )

    def _encode_directly(self, judge_inputs: Iterable[JudgeInput]) -> None:
        missing: dict[Side, dict[str, Content]] = {"query": {}, "item": {}}
        for judge_input in judge_inputs:
            if judge_input.rationale is None:
                missing[judge_input.side][content_key(judge_input.about)] = judge_input.about
            for content in (judge_input.partner, *judge_input.others):
                missing[OTHER_SIDE[judge_input.side]][content_key(content)] = content
        encoders: dict[Side, Callable[[list[Content]], list[Encoding]]] = {
            "query": self._encoder.encode_query,
            "item": self._encoder.encode_items,
        }
        for side, contents in missing.items():
            known = self._direct[side]
            new = {key: content for key, content in contents.items() if key not in known}
            encodings = encoders[side](list(new.values()))
            known.update((key, e.vector) for key, e in zip(new, encodings, strict=True))
