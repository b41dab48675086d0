"""AdamW with a moving average of the weights, and the schedule of its rate."""

import math
from collections.abc import Iterable

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def cosine_rate(
    step: int, *, peak: float, warmup_steps: int, num_steps: int, floor: float = 0.0
) -> float:
    """Return a step's learning rate: linear warm-up to the peak, a cosine to `floor` of it."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)


class AveragedAdamW:
    """AdamW with gradient clipping and an exponential moving average of the weights."""

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        *,
        weight_decay: float,
        average_decay: float,
        max_gradient_norm: float,
    ) -> None:
        """Take the parameters that require a gradient.

        Args:
            parameters: of the model, in its order.
            weight_decay: of matrices; vectors (norms, biases) are not decayed.
            average_decay: the average moves by 1 minus this of the distance in every step.
            max_gradient_norm: longer gradients are scaled down to this norm.
        """
        self.parameters = [p for p in parameters if p.requires_grad]
        self._max_gradient_norm = max_gradient_norm
        # Of the trained weights alone: an average of the whole model would hold it twice.
        self._trained = torch.nn.ParameterList(self.parameters)
        self._averaged = AveragedModel(
            self._trained, multi_avg_fn=get_ema_multi_avg_fn(average_decay)
        )
        self._averaged.update_parameters(self._trained)  # the first call only copies
        decayed = [p for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim <= 1]
        self.adamw = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
        )

    @property
    def average(self) -> list[torch.Tensor]:
        """The moving average of each parameter, in their order."""
        return [p.detach() for p in self._averaged.parameters()]

    def step(self, rate: float) -> float:
        """Go down the gradients that are there, clear them, and return their norm."""
        for group in self.adamw.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self._max_gradient_norm)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        self._averaged.update_parameters(self._trained)
        return norm.item()
