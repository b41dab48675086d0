"""Choosing the next token: the likeliest one, or one that is drawn.

What is drawn for a sequence depends on its seed and not on its batch.

Shape legend: R = sequences that are decoded together, V = vocabulary
"""

import random
from collections.abc import Callable, Sequence

import torch
from transformers import LogitsProcessor

Chooser = Callable[[torch.Tensor, Sequence[int]], list[int]]
"""Chooses a token for each row of the logits [R, V], which it may overwrite; it is also told which
sequences they are, by the numbers that these have for as long as they are decoded."""


def likeliest(logits_RV: torch.Tensor, *, forbidden: torch.Tensor) -> list[int]:
    """Return the likeliest token of each row that is not forbidden; overwrites the logits.

    The forbidden ids are on the device already, so that it is waited for once, for the answer.
    """
    return logits_RV.index_fill_(1, forbidden, float("-inf")).argmax(dim=-1).tolist()


def masked_logits(
    logits_RV: torch.Tensor, *, forbidden: Sequence[int], temperature: float
) -> torch.Tensor:
    """Return the [R, V] float32 logits of the distribution that tokens are drawn from."""
    logits_RV = logits_RV.float() / temperature
    indices = torch.tensor(forbidden, device=logits_RV.device)
    return logits_RV.index_fill(1, indices, float("-inf"))


def drawn_tokens(logits_RV: torch.Tensor, rngs: Sequence[random.Random]) -> list[int]:
    """Draw a token of each row from softmax(logits): inversion of its cumulative probability.

    One number a token is asked of each row's own generator, where `do_sample` of transformers has
    one generator for the whole batch.

    Args:
        logits_RV: divided by the temperature, -inf where a token must not be drawn.
        rngs: of the rows; equal ones draw equal tokens.
    """
    cumulative_RV = torch.softmax(logits_RV.double(), dim=-1).cumsum(dim=-1)
    uniforms = [rng.random() for rng in rngs]
    threshold = torch.tensor(uniforms, dtype=torch.float64, device=logits_RV.device)
    # Scaled by the sum, which rounding keeps from 1, so that the last token can be passed.
    threshold = threshold[:, None] * cumulative_RV[:, -1:]
    return torch.searchsorted(cumulative_RV, threshold, right=True)[:, 0].tolist()


class SeededSampling:
    """Draws tokens from the model's distribution at a temperature; a `Chooser`."""

    def __init__(
        self, seeds: Sequence[str], *, temperature: float, forbidden: Sequence[int]
    ) -> None:
        """Starts a generator for each sequence.

        Args:
            seeds: of the sequences by their numbers; equal ones draw equal tokens.
            temperature: divides the logits; > 0.
            forbidden: tokens that are never drawn.
        """
        self._rngs = [random.Random(seed) for seed in seeds]
        self._temperature, self._forbidden = temperature, forbidden

    def __call__(self, logits_RV: torch.Tensor, numbers: Sequence[int]) -> list[int]:
        """Return a token of each row, drawn with the generator of its sequence."""
        logits_RV = masked_logits(
            logits_RV, forbidden=self._forbidden, temperature=self._temperature
        )
        return drawn_tokens(logits_RV, [self._rngs[number] for number in numbers])


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
        """Return [R, V] scores that leave the drawn token alone possible."""
        tokens = drawn_tokens(scores.float() / self._temperature, self._rngs)
        tokens_R1 = torch.tensor(tokens, device=scores.device)[:, None]
        return torch.full_like(scores, float("-inf")).scatter(1, tokens_R1, 0.0)
