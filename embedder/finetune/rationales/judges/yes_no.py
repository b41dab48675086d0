"""A judge that is a vision-language model asked whether two things match, in one forward pass.

    z = logit(yes) - logit(no) of the first token of the answer

Prompt and read-out are those of Qwen3-VL-Reranker, which is trained for just this score. Any other
Qwen-VL checkpoint whose vocabulary has both words can be asked as well. Log-odds and not the
probability, which for true pairs is close to 1 with any rationale.

Shape legend: N = inputs, B = inputs in a batch
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from embedder.content import Content
from embedder.engine.batches import longest_first
from embedder.finetune.rationales.judges.judge import JudgeInput
from embedder.finetune.rationales.judges.prompt import (
    INSTRUCTION,
    PROMPT_VERSION,
    SYSTEM,
    reasoning_line,
)
from embedder.model.checkpoint import Checkpoint
from embedder.prompting.sample import Sample
from embedder.prompting.template import (
    TURN_END,
    TURN_START,
    neutraliser,
)
from embedder.version import version_id


@dataclass(frozen=True, kw_only=True, slots=True)
class YesNoConfig:
    """What is asked, and how answers are read."""

    instruction: str = INSTRUCTION
    """What makes a document meet the requirements."""

    yes: str = "yes"
    no: str = "no"
    """Words of one token each."""

    batch_size: int = 8
    """Cases of one forward."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


class YesNoJudge:
    """Judges with a local model; implements `embedder.finetune.rationales.judges.judge.Judge`.

    Log-odds do not depend on the batch to about 1e-4 in float32.
    """

    def __init__(self, checkpoint: Checkpoint, config: YesNoConfig) -> None:
        """Wrap a loaded checkpoint.

        Raises:
            ValueError: the vocabulary lacks a word; such a model (`nano` is one) cannot be asked.
        """
        self._checkpoint = checkpoint
        self._config = config
        answers = [_token(checkpoint, word) for word in (config.yes, config.no)]
        self._answers_2 = torch.tensor(answers, device=checkpoint.backbone.device)
        self._neutralise = neutraliser(checkpoint.inputs.tokenizer.get_added_vocab())
        version = version_id(
            checkpoint.folder, checkpoint.manifest, "never", dtype=checkpoint.dtype
        )
        self.name = f"yes-no:{version}/{PROMPT_VERSION}"

    @torch.inference_mode()
    def log_odds(self, judge_inputs: Sequence[JudgeInput]) -> np.ndarray:
        """Return [N] log-odds of yes against no, in nats.

        Raises:
            catalog.images.check.ImageError: an image cannot be read.
        """
        prompts = [self._prompt(judge_input) for judge_input in judge_inputs]
        odds_N = np.empty(len(judge_inputs))
        for rows in longest_first(prompts, batch_size=self._config.batch_size):
            odds_N[rows] = self._judge([prompts[row] for row in rows])
        return odds_N

    def _judge(self, prompts: Sequence[Sample]) -> np.ndarray:
        backbone, inputs = self._checkpoint.backbone, self._checkpoint.inputs
        states_BH = backbone.last_states(inputs.prompts(prompts, device=backbone.device))
        logits_B2 = backbone.logits(states_BH, self._answers_2).double()
        return (logits_B2[:, 0] - logits_B2[:, 1]).cpu().numpy()

    def _prompt(self, judge_input: JudgeInput) -> Sample:
        query, query_image = self._shown(judge_input.query)
        target, target_image = self._shown(judge_input.target)
        text = "".join(
            (
                f"{TURN_START}system\n{SYSTEM}{TURN_END}\n{TURN_START}user\n",
                f"<Instruct>: {self._config.instruction}",
                f"<Query>:{query}{reasoning_line(judge_input, 'query', clean=self._cut)}",
                f"\n<Document>:{target}{reasoning_line(judge_input, 'item', clean=self._cut)}",
                f"{TURN_END}\n{TURN_START}assistant\n",
            )
        )
        tokens = self._checkpoint.inputs.tokens(text)
        images = [*query_image, *target_image]
        patches = [image.patches_PV for image in images if image.patches_PV is not None]
        return Sample(
            tokens,
            np.concatenate(patches) if patches else None,
            tuple(grid for image in images for grid in image.grids),
        )

    def _shown(self, content: Content) -> tuple[str, list[Sample]]:
        """Return a content as the prompt's text, and its image if it has one."""
        text = self._cut(content.text)
        if content.image is None:
            return text, []
        seen = self._checkpoint.inputs.seen(Content(image=content.image))
        return seen.text + text, [seen.sample]

    def _cut(self, text: str) -> str:
        """Return untrusted text without control tokens, as long as an embedder would read it."""
        inputs = self._checkpoint.inputs
        safe = self._neutralise(text[: inputs.max_text_tokens * 16])
        tokens = inputs.tokens(safe)
        if len(tokens) <= inputs.max_text_tokens:
            return safe
        return inputs.tokenizer.decode(tokens[: inputs.max_text_tokens])


def _token(checkpoint: Checkpoint, word: str) -> int:
    tokens = checkpoint.inputs.tokens(word)
    if len(tokens) != 1:
        raise ValueError(
            f"the answer {word!r} must be one token of {checkpoint.manifest.name!r}, got "
            f"{len(tokens)}; name other words in YesNoConfig, or judge with SelfJudge"
        )
    return tokens[0]
