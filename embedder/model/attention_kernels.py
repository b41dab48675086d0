"""Which of torch's attention kernels may be chosen.

cuDNN's builds a plan for every new shape, 50 to 80 ms of the host's time each on an H200 with torch
2.11, and new shapes come all the time here.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

UNPLANNED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def unplanned_attention(device: torch.device) -> AbstractContextManager[None]:
    """Return within what a GPU's attention is computed by kernels that need no plan."""
    return sdpa_kernel(UNPLANNED) if device.type == "cuda" else nullcontext()
