"""What an error says about memory and the device, on a GPU and on a CPU."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a smaller batch may succeed where this error came up.

    torch's CPU allocator has no exception class of its own, only its message.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "not enough memory" in text
    )


def is_device_lost(error: BaseException) -> bool:
    """Tell whether the GPU computes nothing any more, so that a retry blames the innocent."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


def peak_memory_bytes() -> int:
    """Return the most GPU memory that this process ever held for tensors; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def release_memory() -> None:
    """Gives the GPU memory back that torch holds for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
