"""Drawing tokens so that what a sequence gets depends on its seed and not on its batch.

Shape legend: B = sequences in the batch, V = vocabulary
"""

import random
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor


def drawn_tokens(logits_BV: torch.Tensor, rngs: Sequence[random.Random]) -> list[int]:
    """A token of each row, drawn from softmax(logits): inversion of its cumulative probability.

    One number a token is asked of each row's own generator, where `do_sample` of transformers has
    one generator for the whole batch.

    Args:
        logits_BV: divided by the temperature, -inf where a token must not be drawn.
        rngs: of the rows; equal ones draw equal tokens.
    """
    cumulative_BV = torch.softmax(logits_BV.double(), dim=-1).cumsum(dim=-1)
    uniforms = [rng.random() for rng in rngs]
    threshold = torch.tensor(uniforms, dtype=torch.float64, device=logits_BV.device)
    # Scaled by the sum, which rounding keeps from 1, so that the last token can be passed.
    threshold = threshold[:, None] * cumulative_BV[:, -1:]
    return torch.searchsorted(cumulative_BV, threshold, right=True)[:, 0].tolist()


class SeededDraw(LogitsProcessor):
    """Turns greedy decoding by transformers into drawing; see `drawn_tokens`."""

    def __init__(self, seeds: Sequence[str], *, temperature: float) -> None:
        """Starts a generator for each sequence.

        Args:
            seeds: one for each sequence of the batch; equal ones draw equal tokens.
            temperature: divides the logits; > 0.
        """
        self._temperature = temperature
        self._rngs = [random.Random(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """[B, V] scores that leave the drawn token alone possible."""
        tokens = drawn_tokens(scores.float() / self._temperature, self._rngs)
        tokens_B1 = torch.tensor(tokens, device=scores.device)[:, None]
        return torch.full_like(scores, float("-inf")).scatter(1, tokens_B1, 0.0)
