"""Forward pass of a training: prompts and image features are kept, for contents come back.

Shape legend: B = prompts in the batch, N = their answers, T = tokens of these
"""

import itertools
from collections.abc import Sequence
from functools import lru_cache

import torch

from embedder.content import Content
from embedder.finetune.training.forward import ForwardOutput, PromptWithAnswers, forward
from embedder.finetune.training.image_features import ImageFeatureCache
from embedder.model.backbone import Backbone
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample


class CachedForward:
    """`forward` with a model that is being trained, in groups of one length."""

    def __init__(
        self,
        backbone: Backbone,
        inputs: Inputs,
        *,
        image_features: ImageFeatureCache | None = None,
        num_kept_samples: int = 4096,
        group_size: int = 32,
    ) -> None:
        """Keep nothing yet.

        Args:
            backbone: the model.
            inputs: its tokenizer and image processor.
            image_features: by an encoder that is not trained; None: computed at every reading.
            num_kept_samples: contents that stay tokenised, images cut into patches of bytes.
            group_size: prompts of about one length that are read together; the shorter ones of a
                group are padded to its longest.
        """
        self._group_size = group_size
        self.backbone, self.inputs, self.image_features = backbone, inputs, image_features
        self._sample = lru_cache(num_kept_samples)(inputs.sample)

    def sample(self, content: Content, instruction: str) -> Sample:
        """Return the prompt for a content.

        Raises:
            catalog.images.check.ImageError: the image cannot be read.
        """
        return self._sample(content, instruction)

    def forward(
        self, batch: Sequence[PromptWithAnswers], *, with_tokens: bool = True
    ) -> ForwardOutput:
        """Return what `forward` does for the batch, computed in groups of one length."""
        order = sorted(range(len(batch)), key=lambda place: _length(batch[place]))
        groups = [
            order[start : start + self._group_size]
            for start in range(0, len(order), self._group_size)
        ]
        outputs = [
            self._forward_group([batch[place] for place in group], with_tokens) for group in groups
        ]
        return outputs[0] if groups == [[*range(len(batch))]] else _joined(batch, order, outputs)

    def _forward_group(
        self, batch: Sequence[PromptWithAnswers], with_tokens: bool
    ) -> ForwardOutput:
        images = None
        if self.image_features is not None:
            images = self.image_features.features([one.sample for one in batch])
        return forward(self.backbone, self.inputs, batch, images=images, with_tokens=with_tokens)


def _length(one: PromptWithAnswers) -> int:
    return len(one.sample) + sum(map(len, one.answers))


def _joined(
    batch: Sequence[PromptWithAnswers], order: Sequence[int], outputs: Sequence[ForwardOutput]
) -> ForwardOutput:
    """Join the outputs of groups to the batch's; `order` has the places of the groups' prompts."""
    firsts = list(itertools.accumulate((len(one.answers) for one in batch), initial=0))
    answers = [range(firsts[place], firsts[place + 1]) for place in order]
    place_B = torch.tensor(order)
    answer_N = torch.tensor([answer for row in answers for answer in row])
    gate_B2 = torch.cat([one.gate_B2 for one in outputs])
    vectors_NH = torch.cat([one.vectors_NH for one in outputs])
    sizes = [0, *itertools.accumulate(len(one.vectors_NH) for one in outputs)]
    device = gate_B2.device
    owner_T = torch.cat([one.answer_T + first for one, first in zip(outputs, sizes, strict=False)])
    owner_T = answer_N.to(device)[owner_T]
    token_order_T = owner_T.argsort(stable=True)
    return ForwardOutput(
        gate_B2[place_B.argsort().to(device)],
        vectors_NH[answer_N.argsort().to(device)],
        torch.cat([one.token_states_TH for one in outputs])[token_order_T],
        torch.cat([one.token_ids_T for one in outputs])[token_order_T],
        owner_T[token_order_T],
    )
