"""Rationales that a model writes when tokens are drawn, not chosen.

Shape legend: R = sequences that are decoded together, V = vocabulary, T = words
"""

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from embedder.engine.sampling import drawn_tokens
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.forward import ForwardOutput, half_precision, token_logits
from embedder.model.backbone import Backbone
from embedder.model.kv_cache import SlotCache
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
    """Reasoned answers of each prompt, one for each of its seeds.

    What is drawn depends on prompt and seed, not on the other prompts and rollouts. (An
    `embedder.reasoners.local.LocalReasoner` that draws with the same seed writes the same.)

    Args:
        backbone: the policy.
        inputs: its tokenizer.
        samples: prompts that end where the gate token goes.
        seeds: of each prompt, those of its rollouts; may be none.
        max_new_tokens: the embedding token closes an answer by force as its word of this number.
        temperature: divides the logits; > 0.
        images: features of the prompts' images; computed when not given.
    """
    with half_precision(backbone.device):
        cache, positions, owners = _joined(
            backbone,
            inputs,
            samples,
            [len(own) for own in seeds],
            max_new_tokens=max_new_tokens,
            images=images,
        )
        rngs = [random.Random(seed) for own in seeds for seed in own]
        answers = [[inputs.reason_id] for _ in rngs]
        active = list(range(len(rngs)))
        while active:
            newest = torch.tensor([answers[n][-1] for n in active], device=backbone.device)
            at = [positions[owners[n]] + len(answers[n]) - 1 for n in active]
            states = backbone.text.step(newest, torch.tensor(at, device=backbone.device), cache)
            logits_RV = masked_logits(backbone.logits(states), inputs, temperature=temperature)
            drawn = drawn_tokens(logits_RV, [rngs[n] for n in active])
            for slot in reversed(range(len(active))):  # a leaving one moves only later slots
                answer = answers[active[slot]]
                answer.append(inputs.emb_id if len(answer) == max_new_tokens else drawn[slot])
                if answer[-1] == inputs.emb_id:
                    cache.leave(slot)
                    last = active.pop()
                    if slot < len(active):
                        active[slot] = last
    of: list[list[Answer]] = [[] for _ in samples]
    for row, answer in zip(owners, answers, strict=True):
        of[row].append(tuple(answer))
    return of


def masked_logits(logits_RV: torch.Tensor, inputs: Inputs, *, temperature: float) -> torch.Tensor:
    """[R, V] float32 logits of the distribution that words are drawn from."""
    logits_RV = logits_RV.float() / temperature
    forbidden = torch.tensor(inputs.forbidden_ids, device=logits_RV.device)
    return logits_RV.index_fill(1, forbidden, float("-inf"))


def token_logprobs(
    model: CachedForward, output: ForwardOutput, *, temperature: float
) -> torch.Tensor:
    """[T] log-probability of each word in the distribution that words are drawn from."""
    logits_TV = token_logits(model.backbone, output)
    logprob_TV = F.log_softmax(
        masked_logits(logits_TV, model.inputs, temperature=temperature), dim=-1
    )
    return logprob_TV.gather(1, output.token_ids_T[:, None])[:, 0]


def is_well_formed(answer: Answer, inputs: Inputs, *, max_new_tokens: int) -> bool:
    """Whether the answer holds one summary and has ended by itself."""
    return answer.count(inputs.summary_id) == 1 and len(answer) - 1 < max_new_tokens


def _joined(
    backbone: Backbone,
    inputs: Inputs,
    samples: Sequence[Sample],
    num_rollouts: Sequence[int],
    *,
    max_new_tokens: int,
    images: ImageFeatures | None,
) -> tuple[SlotCache, list[int], list[int]]:
    """A slot for each rollout, its prompt in it; positions behind the prompts; slots' prompts."""
    prompts = inputs.prompts(samples, device=backbone.device)
    past_Y2BKLD = backbone.text.empty_past(prompts)
    ends = torch.tensor(prompts.lengths, device=backbone.device)[:, None] - 1
    backbone.prefill(prompts, ends, images=images, past_Y2BKLD=past_Y2BKLD)
    positions = (prompts.positions_3BL[0].gather(1, ends)[:, 0] + 1).tolist()
    owners = [row for row, many in enumerate(num_rollouts) for _ in range(many)]
    cache = SlotCache(len(owners), dtype=past_Y2BKLD.dtype, device=backbone.device)
    for row in owners:
        cache.join(past_Y2BKLD[:, :, row, :, : prompts.lengths[row]], room=max_new_tokens)
    return cache, positions, owners
