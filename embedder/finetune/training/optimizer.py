"""AdamW with a moving average of the weights, and the schedule of its rate."""

import math
from collections.abc import Iterable

import torch


def cosine_rate(
    step: int, *, peak: float, warmup_steps: int, num_steps: int, floor: float = 0.0
) -> float:
    """Learning rate of a step: linear warm-up to the peak, then a cosine to `floor` of it."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)


class AveragedAdamW:
    """The optimiser and what it has made of the weights."""

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        *,
        weight_decay: float,
        average_decay: float,
        max_gradient_norm: float,
    ) -> None:
        """Takes the parameters that require a gradient.

        Args:
            parameters: of the model, in its order.
            weight_decay: of matrices; vectors (norms, biases) are not decayed.
            average_decay: the average moves by 1 minus this of the distance in every step.
            max_gradient_norm: longer gradients are scaled down to this norm.
        """
        self.parameters = [p for p in parameters if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self._average_decay, self._max_gradient_norm = average_decay, max_gradient_norm
        decayed = [p for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim <= 1]
        self.adamw = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
        )

    def step(self, rate: float) -> float:
        """Goes down the gradients that are there, clears them, and returns their norm."""
        for group in self.adamw.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self._max_gradient_norm)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        with torch.no_grad():
            for average, parameter in zip(self.average, self.parameters, strict=True):
                average.lerp_(parameter, 1 - self._average_decay)
        return norm.item()
