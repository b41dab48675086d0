"""Rollouts of the gate: rationales whose tokens are drawn, and how likely these were.

Shape legend: T = tokens of the answers, V = vocabulary
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F

from embedder.engine.continuous_batch import ActiveRationale, ContinuousBatch
from embedder.engine.sampling import SeededSampling, masked_logits
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.forward import ForwardOutput, half_precision, token_logits
from embedder.model.backbone import Backbone
from embedder.model.vision_encoder import ImageFeatures
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample

Answer = tuple[int, ...]
"""Tokens from the gate token to the embedding token."""


@torch.inference_mode()
def roll_out(
    backbone: Backbone,
    inputs: Inputs,
    samples: Sequence[Sample],
    seeds: Sequence[Sequence[str]],
    *,
    max_new_tokens: int,
    temperature: float,
    images: ImageFeatures | None = None,
) -> list[list[Answer]]:
    """Draw reasoned answers of each prompt, one for each of its seeds.

    What is drawn depends on prompt and seed, not on the other prompts and rollouts. (An
    `embedder.reasoners.local.LocalReasoner` that draws with the same seed writes the same.)

    Args:
        backbone: the policy.
        inputs: its tokenizer.
        samples: prompts that end where the gate token goes.
        seeds: of each prompt, those of its rollouts; may be none.
        max_new_tokens: the embedding token closes an answer by force as its token of this number.
        temperature: divides the logits; > 0.
        images: features of the prompts' images; computed when not given.
    """
    own_seeds = [seed for own in seeds for seed in own]
    answers: dict[int, Answer] = {}
    with half_precision(backbone.device):
        batch = ContinuousBatch(
            backbone,
            inputs,
            SeededSampling(own_seeds, temperature=temperature, forbidden=inputs.forbidden_ids),
            max_new_tokens=max_new_tokens,
            num_slots=len(own_seeds),
            reads_end=False,
        )
        num_rollouts = [len(own) for own in seeds]
        for rationale in _begun(backbone, inputs, samples, num_rollouts, images=images):
            batch.wait(rationale)
        while batch.is_busy:
            for finished in batch.advance():
                if finished.error is not None:
                    raise finished.error
                answers[finished.number] = (inputs.reason_id, *finished.tokens)
    numbers = itertools.count()
    return [[answers[next(numbers)] for _ in own] for own in seeds]


def token_logprobs(
    model: CachedForward, output: ForwardOutput, *, temperature: float
) -> torch.Tensor:
    """Return the [T] log-probability of each token in the distribution that it is drawn from."""
    logits_TV = masked_logits(
        token_logits(model.backbone, output),
        forbidden=model.inputs.forbidden_ids,
        temperature=temperature,
    )
    logprob_TV = F.log_softmax(logits_TV, dim=-1)
    return logprob_TV.gather(1, output.token_ids_T[:, None])[:, 0]


def is_well_formed(answer: Answer, inputs: Inputs, *, max_new_tokens: int) -> bool:
    """Return whether the answer holds one summary and has ended by itself."""
    return answer.count(inputs.summary_id) == 1 and len(answer) - 1 < max_new_tokens


def _begun(
    backbone: Backbone,
    inputs: Inputs,
    samples: Sequence[Sample],
    num_rollouts: Sequence[int],
    *,
    images: ImageFeatures | None,
) -> Iterator[ActiveRationale]:
    """Yield the rollouts of each prompt, behind the one prefill that they share."""
    prompts = inputs.prompts(samples, device=backbone.device)
    past_Y2BKLD = backbone.text.empty_past(prompts)
    ends_B1 = torch.tensor(prompts.lengths, device=backbone.device)[:, None] - 1
    backbone.prefill(prompts, ends_B1, images=images, past_Y2BKLD=past_Y2BKLD)
    positions = (prompts.positions_3BL[0].gather(1, ends_B1)[:, 0] + 1).tolist()
    owners = [row for row, many in enumerate(num_rollouts) for _ in range(many)]
    for number, row in enumerate(owners):
        past_Y2KLD = past_Y2BKLD[:, :, row, :, : prompts.lengths[row]]
        yield ActiveRationale(number, past_Y2KLD, positions[row])
