"""What an error says about memory and the device, and limits that memory sets."""

import os

import torch

PATIENCE = 16
"""Successes at a lowered limit after which more is tried; twice as many after each further loss."""

MAX_PATIENCE = 1_024


class ShrinkingLimit:
    """A limit that is lowered where memory runs out, and comes back when it has held for a while.

    What took the memory may be gone by then. Where it is not, the next try costs one failure more,
    and is made ever more rarely.
    """

    def __init__(self, asked: int) -> None:
        """Starts at what is asked for, which is never exceeded."""
        self.value = self._asked = asked
        self._held, self._patience = 0, PATIENCE

    def lower(self, to: int) -> None:
        """Takes a smaller value, 1 at least, after memory has run out."""
        if self.value < self._asked:  # it has come back too soon, or fallen further
            self._patience = min(2 * self._patience, MAX_PATIENCE)
        self.value, self._held = min(self.value, max(1, to)), 0

    def held(self) -> None:
        """Counts that memory sufficed for as much as the limit allows, or nearly so."""
        if self.value == self._asked:
            return
        self._held += 1
        if self._held >= self._patience:
            self.value, self._held = min(self._asked, 2 * self.value), 0


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


def free_bytes(device: torch.device) -> int:
    """Return the memory of a device that tensors can still take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + held
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
