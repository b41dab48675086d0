"""The silent answer: latent steps behind prompts whose keys and values are kept.

Two ways, both without a token of text. Latents that are tokens (LaME, arXiv 2606.13061) are read
together in one pass. Latents that are states (Coconut, arXiv 2412.06769) are read one after the
other: what a step's state is, the next step reads in the place of a token. Our change: such a state
is brought to the length of the silent token's embedding, because states and embeddings differ in
length by more than the first steps of a short training make good.

Shape legend:
  B = prompts, Y = layers, K = key-value heads, L = longest prompt, D = head size,
  C = steps: the silent token, the latents, the embedding token; H = hidden size
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from embedder.model.text_model import TextModel


def silent_states(
    text: TextModel,
    answer: Sequence[int],
    past_Y2BKLD: torch.Tensor,
    lengths_B: torch.Tensor,
    positions_B: torch.Tensor,
    *,
    num_states: int,
) -> torch.Tensor:
    """Return [B, C, H] the states of a silent answer's steps, with their graph if there is one.

    Args:
        text: the text layers.
        answer: tokens from the silent token to the embedding token.
        past_Y2BKLD: keys and values of the prompts, each from the first column on.
        lengths_B: tokens of each prompt; what stands behind them is not seen.
        positions_B: rotary position of the token after each prompt.
        num_states: latents that are states, between the first and the last token; 0 where latents
            are tokens.
    """
    device = past_Y2BKLD.device
    num_steps, longest = len(answer) + num_states, past_Y2BKLD.shape[4]
    steps_C = torch.arange(num_steps, device=device)
    sees_BL = torch.arange(longest, device=device) < lengths_B[:, None]
    sees_BCL = torch.cat(
        [
            sees_BL[:, None].expand(-1, num_steps, -1),
            (steps_C <= steps_C[:, None]).expand(len(sees_BL), -1, -1),
        ],
        dim=2,
    )
    past = [(layer[0], layer[1]) for layer in past_Y2BKLD]
    embeddings_AH = text.embeddings(torch.tensor(answer, device=device))
    embeddings_BAH = embeddings_AH.expand(len(sees_BL), -1, -1)
    if not num_states:
        return text.extend(embeddings_BAH, positions_B[:, None] + steps_C, past, sees_BCL)[0]
    length = embeddings_AH[0].norm()
    inputs_B1H, found = embeddings_BAH[:, :1], []
    for step in range(num_steps):
        states_B1H, past = text.extend(
            inputs_B1H,
            positions_B[:, None] + step,
            past,
            sees_BCL[:, step : step + 1, : longest + step + 1],
        )
        found.append(states_B1H)
        inputs_B1H = embeddings_BAH[:, -1:]
        if step < num_states:
            inputs_B1H = F.normalize(states_B1H, dim=-1) * length
    return torch.cat(found, dim=1)
