"""Work that a GPU records once and repeats by one launch.

Not run yet where this was written, for want of a GPU: whatever is decided is in
`embedder.model.decode_steps`, which is tested with a recorder of the CPU's own.
"""

from collections.abc import Callable

import torch


def recorded(work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Record work as a CUDA graph; return what repeats it.

    Args:
        work: reads and writes tensors that stay where they are, and asks the device nothing. It is
            done twice before it is recorded, so it must come to the same each time.

    Returns:
        A function that does the work and returns its result, always in the same tensor.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):  # libraries choose and allocate at first, which cannot be recorded
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def repeat() -> torch.Tensor:
        graph.replay()
        return result

    return repeat
