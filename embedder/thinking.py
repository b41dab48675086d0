"""Reason only where the gate says so: one prefill for gate and direct vector, then decode the rest.

MMEmb-R1 (arXiv 2604.06156) describes the behaviour; its template and read-out are not public, so
the one-token gate and the cache handling are our reconstruction. Decoding is greedy. Thinkers of a
batch decode together and leave as they finish; left out so far is letting waiting ones join.

Shape legend:
  B = sequences in the batch, R = sequences that reason, L = prompt length with padding,
  H = hidden size
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import DynamicCache

from embedder.backbone import Backbone
from embedder.content import Encoding, Policy
from embedder.inputs import Batch, Inputs, Sample


@dataclass(slots=True)
class Thoughts:
    """Where each reasoning sequence stands."""

    tokens: list[list[int]]
    state_RH: torch.Tensor
    """Hidden state at the embedding token; filled when a sequence reaches it."""


DIRECT_ANSWER_LENGTH = 2  # the gate token and the embedding token


@torch.inference_mode()
def encode_batch(
    backbone: Backbone,
    inputs: Inputs,
    samples: list[Sample],
    *,
    policy: Policy,
    theta: float,
    max_new_tokens: int,
) -> list[Encoding]:
    """Encodings of the samples, in order.

    Args:
        backbone: the model.
        inputs: its tokenizer.
        samples: prompts that end where the gate token goes.
        policy: `auto` lets the gate decide, `always` and `never` overrule it.
        theta: with `auto`, reason when the gate's probability is at least this.
        max_new_tokens: after so many tokens a rationale is closed by force.
    """
    answer = (inputs.direct_id, inputs.emb_id)
    batch = inputs.batch([sample.extended(answer) for sample in samples]).to(backbone.device)
    cache = DynamicCache(config=backbone.model.config.get_text_config())
    states_BLH = backbone.states(batch, cache=cache)
    gate_logits = backbone.logits(states_BLH[:, -3])[:, [inputs.direct_id, inputs.reason_id]]
    gate_B = torch.softmax(gate_logits.float(), dim=-1)[:, 1]
    vectors_BH = F.normalize(states_BLH[:, -1].float(), dim=-1)
    rows = _thinkers(gate_B, policy, theta)
    encodings = [
        Encoding(vector, "direct", gate)
        for vector, gate in zip(vectors_BH.cpu().numpy(), gate_B.tolist(), strict=True)
    ]
    if rows:
        thoughts = _reason(backbone, inputs, batch, cache, rows, max_new_tokens)
        for row, encoding in zip(
            rows, _reasoned(thoughts, inputs, gate_B[rows].tolist()), strict=True
        ):
            encodings[row] = encoding
    return encodings


def _thinkers(gate_B: torch.Tensor, policy: Policy, theta: float) -> list[int]:
    if policy == "never":
        return []
    if policy == "always":
        return list(range(len(gate_B)))
    return torch.nonzero(gate_B >= theta).flatten().tolist()


def _reason(
    backbone: Backbone,
    inputs: Inputs,
    batch: Batch,
    cache: DynamicCache,
    rows: list[int],
    max_new_tokens: int,
) -> Thoughts:
    """Decodes the given rows from the prefill's cache until each has shown its embedding token."""
    # The direct answer is taken back, so that reasoning starts where the prompt ends.
    position_B = backbone.positions(batch).amax(dim=(0, 2)) + 1 - DIRECT_ANSWER_LENGTH
    cache.crop(-DIRECT_ANSWER_LENGTH)
    index = torch.tensor(rows, device=backbone.device)
    cache.batch_select_indices(index)
    mask = batch.attention_mask_BL[index, :-DIRECT_ANSWER_LENGTH]
    position = position_B[index]
    token = torch.full((len(rows), 1), inputs.reason_id, device=backbone.device)
    active = list(range(len(rows)))
    hidden_size = backbone.model.config.get_text_config().hidden_size
    thoughts = Thoughts([[] for _ in rows], torch.zeros(len(rows), hidden_size))
    for step in range(max_new_tokens + 1):
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
        state = backbone.extend(
            token, cache=cache, attention_mask_BL=mask, next_position_B=position
        )[:, -1]
        done = token[:, 0] == inputs.emb_id
        for slot in torch.nonzero(done).flatten().tolist():
            thoughts.state_RH[active[slot]] = state[slot].float().cpu()
        keep = torch.nonzero(~done).flatten()
        if not len(keep):
            break
        if len(keep) < len(active):
            cache.batch_select_indices(keep)
            mask, position, state = mask[keep], position[keep], state[keep]
            active = [active[slot] for slot in keep.tolist()]
        token = _next_token(backbone, inputs, state, is_last=step >= max_new_tokens - 1)
        position = position + 1
        for slot, new in enumerate(token[:, 0].tolist()):
            thoughts.tokens[active[slot]].append(new)
    return thoughts


def _next_token(
    backbone: Backbone, inputs: Inputs, state_RH: torch.Tensor, *, is_last: bool
) -> torch.Tensor:
    """[R, 1] the likeliest tokens; of the control tokens only summary and embedding may come."""
    if is_last:
        return torch.full((len(state_RH), 1), inputs.emb_id, device=state_RH.device)
    logits = backbone.logits(state_RH)
    logits[:, inputs.forbidden_ids] = float("-inf")
    return logits.argmax(dim=-1, keepdim=True)


def _reasoned(thoughts: Thoughts, inputs: Inputs, gates: list[float]) -> list[Encoding]:
    vectors = F.normalize(thoughts.state_RH, dim=-1).numpy()
    encodings = []
    for vector, tokens, gate in zip(vectors, thoughts.tokens, gates, strict=True):
        words = tokens[:-1]  # without the embedding token
        split = words.index(inputs.summary_id) if inputs.summary_id in words else len(words)
        rationale, summary = inputs.words(words[:split]), inputs.words(words[split + 1 :])
        encodings.append(
            Encoding(vector, "reason", gate, rationale, summary, rationale_tokens=len(words))
        )
    return encodings
