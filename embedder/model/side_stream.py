"""Work that a GPU does beside what it is at: the next batch is copied while this one is computed.

What is launched on one stream is done in order, so a copy behind a batch would begin when that has
ended. On a CPU there is one order only, and nothing differs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


@contextmanager
def beside_work(device: torch.device) -> Iterator[list[torch.Tensor]]:
    """Launch what is within beside what was launched before; what comes after waits for it.

    Yields:
        An empty list, for the tensors made within that are read after: their memory is taken again
        only when that has been done, however early they are dropped.
    """
    made: list[torch.Tensor] = []
    if device.type != "cuda":
        yield made
        return
    side, work = _side_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(side):
        yield made
    for tensor in made:
        tensor.record_stream(work)
    work.wait_stream(side)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
