"""Which devices torch has here."""

import torch


def device_problem(name: str) -> str | None:
    """Return why a device cannot be used; None when it can.

    >>> device_problem("cpu"), device_problem("tpu-7") is None
    (None, False)
    """
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # an assertion where torch has no CUDA in it
        return str(error).strip().splitlines()[0]
    return None


def idle_gpus() -> int:
    """Return how many CUDA devices there are."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
