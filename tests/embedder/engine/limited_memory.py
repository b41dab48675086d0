"""A device with so much memory and no more: counts what torch holds, and refuses what is above."""

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LimitedMemory(TorchDispatchMode):
    """Within it every tensor that an operation makes counts for as long as it lives."""

    def __init__(self, limit=float("inf")):
        super().__init__()
        self.limit, self.peak, self.refusals = limit, 0, 0
        self._held = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {_of(tensor) for tensor in tree_iter((args, kwargs)) if _is_tensor(tensor)}
        made = func(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if _is_tensor(tensor) and (key := _of(tensor)) not in known:
                storage = tensor.untyped_storage()
                self._held[key] = StorageWeakRef(storage), storage.nbytes()
        self._held = {key: one for key, one in self._held.items() if not one[0].expired()}
        live = sum(num_bytes for _, num_bytes in self._held.values())
        if live > self.limit:
            self.refusals += 1
            raise torch.OutOfMemoryError(f"out of memory: {live} bytes of {self.limit}")
        self.peak = max(self.peak, live)
        return made


def _is_tensor(value):
    return isinstance(value, torch.Tensor)


def _of(tensor):
    return tensor.untyped_storage()._cdata
