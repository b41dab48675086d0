"""One more token of every busy slot: launched anew each time, or recorded by shape and repeated.

A step of a 28-layer model is some 1,600 kernels, and a GPU does them sooner than they are launched.
So there shapes are rounded up to few, what goes in lies in tensors that stay where they are, and
each shape is recorded when it comes for the second time. A CPU works on exactly what is there.

Shape legend: S = slots, R = busy slots, H = hidden size
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from embedder.model.attention_kernels import unplanned_attention
from embedder.model.cuda_graphs import recorded
from embedder.model.decode_attention import LengthKernel, length_kernel
from embedder.model.kv_cache import SlotCache
from embedder.model.text_model import TextModel

Work = Callable[[], torch.Tensor]

Recorder = Callable[[Work], Work]
"""Returns what repeats the work with whatever its tensors hold by then, in place of its code."""

RECORDED_FROM = 2
"""Times a shape has come: recording takes as long as some steps, and many shapes come once."""


class DecodeSteps(Protocol):
    """Runs the steps of one cache."""

    def states(
        self, newest: Sequence[int], positions: Sequence[int], cache: SlotCache
    ) -> torch.Tensor:
        """Return [R, H] states after the final norm of the newest token of every busy slot.

        Args:
            newest: its id.
            positions: its rotary position.
            cache: has grown by it.
        """
        ...

    def forget(self) -> None:
        """Drops whatever is kept for later steps, and the memory that it takes."""
        ...


def decode_steps(text: TextModel, *, num_slots: int, device: torch.device) -> DecodeSteps:
    """Return the steps that suit a device."""
    if device.type == "cuda":
        kernel = length_kernel(device, text.dtype)
        return RecordedSteps(
            text, num_slots=num_slots, device=device, record=recorded, kernel=kernel
        )
    return PlainSteps(text, device=device)


class PlainSteps:
    """Steps that work on the busy slots and the longest of them; implements `DecodeSteps`."""

    def __init__(self, text: TextModel, *, device: torch.device) -> None:
        self._text, self._device = text, device

    def states(
        self, newest: Sequence[int], positions: Sequence[int], cache: SlotCache
    ) -> torch.Tensor:
        """See `DecodeSteps`."""
        ids_R, positions_R = torch.tensor([newest, positions], device=self._device)
        return self._text.step(ids_R, positions_R, cache)

    def forget(self) -> None:
        """See `DecodeSteps`; nothing is kept."""


class RecordedSteps:
    """Steps of few shapes in tensors that stay, each recorded; implements `DecodeSteps`."""

    def __init__(
        self,
        text: TextModel,
        *,
        num_slots: int,
        device: torch.device,
        record: Recorder,
        kernel: LengthKernel | None = None,
    ) -> None:
        """None are recorded yet.

        Args:
            text: the model.
            num_slots: most slots that are busy at once.
            device: of the model.
            record: how.
            kernel: attends by the slots' lengths; None: through a mask.
        """
        self._text, self._record, self._kernel = text, record, kernel
        pinned = device.type == "cuda"
        self._given_2S = torch.zeros(2, num_slots, dtype=torch.long, pin_memory=pinned)
        self._inputs_2S = torch.zeros(2, num_slots, dtype=torch.long, device=device)
        self._storage: tuple[int, ...] = ()
        self._times: dict[tuple[int, int], int] = {}
        self._recorded: dict[tuple[int, int], Work] = {}

    def states(
        self, newest: Sequence[int], positions: Sequence[int], cache: SlotCache
    ) -> torch.Tensor:
        """See `DecodeSteps`."""
        shape = slots, _ = cache.widen(to_all_columns=self._kernel is not None)
        # The copy before is over: since then the next tokens were chosen, and read by the host.
        self._given_2S[:, : len(newest)] = torch.tensor([newest, positions])
        self._inputs_2S.copy_(self._given_2S, non_blocking=True)
        if cache.storage != self._storage:  # it has grown, and what was recorded fills the old one
            self.forget()
            self._storage = cache.storage
        ids_S, positions_S = self._inputs_2S[:, :slots]
        with unplanned_attention(self._inputs_2S.device):
            states_SH = self._work(
                shape, lambda: self._text.step(ids_S, positions_S, cache, kernel=self._kernel)
            )
        return states_SH[: len(newest)].clone()  # the next step overwrites it

    def forget(self) -> None:
        """See `DecodeSteps`."""
        self._times.clear()
        self._recorded.clear()

    def _work(self, shape: tuple[int, int], work: Work) -> torch.Tensor:
        if shape in self._recorded:
            return self._recorded[shape]()
        self._times[shape] = self._times.get(shape, 0) + 1
        if self._times[shape] < RECORDED_FROM:
            return work()
        self._recorded[shape] = self._record(work)
        return self._recorded[shape]()
