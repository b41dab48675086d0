"""Drawing tokens so that what a sequence gets does not depend on its batch.

Shape legend: B = sequences in the batch, V = vocabulary
"""

import hashlib
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor


class GumbelDraw(LogitsProcessor):
    """Turns greedy decoding into drawing from softmax(logits / temperature).

    The token with the largest sum of scaled logit and Gumbel noise is distributed as if drawn from
    the softmax (Gumbel 1954; Maddison et al. 2014). Every sequence has a source of noise of its
    own, where `do_sample` of transformers has one for the whole batch.
    """

    def __init__(self, seeds: Sequence[str], *, temperature: float) -> None:
        """Starts a source of noise for each sequence.

        Args:
            seeds: one for each sequence of the batch; equal ones draw equal noise.
            temperature: divides the logits; > 0.
        """
        self._temperature = temperature
        self._sources = [torch.Generator().manual_seed(_number(seed)) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """[B, V] scores whose argmax is the drawn token; impossible tokens stay impossible."""
        uniform_BV = torch.stack(
            [
                torch.rand(scores.shape[1], generator=source, dtype=torch.float64)
                for source in self._sources
            ]
        )
        noise_BV = -torch.log(-torch.log(uniform_BV.clamp_min(torch.finfo(torch.float64).tiny)))
        return scores / self._temperature + noise_BV.to(scores)


def _number(seed: str) -> int:
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=7).digest())
