"""The key-value cache of sequences that are decoded together, one slot each.

The busy slots are always the first ones: when a sequence leaves, the last one moves into its place,
so that a step works on plain slices. A sequence begins at column 0 of its slot, whatever the others
do, so one can join at any time.

Shape legend:
  Y = layers, S = slots, K = key-value heads, C = columns (tokens that fit), D = head size,
  R = slots of a step: the busy ones, or some more (`SlotCache.widen`), L = tokens of a prompt
"""

import torch

from embedder.model.buckets import COLUMN_STEP, column_bucket, slot_bucket

SLOT_FACTOR = 4  # and to so many times the slots: one query needs not the memory of hundreds


class SlotCache:
    """Keys and values of at most `num_slots` sequences."""

    def __init__(self, num_slots: int, *, dtype: torch.dtype, device: torch.device) -> None:
        """An empty cache; memory is taken when sequences join."""
        self.num_slots = num_slots
        self.lengths_S = torch.zeros(num_slots, dtype=torch.long, device=device)
        self._dtype, self._device = dtype, device
        self._kv_Y2SKCD: torch.Tensor | None = None
        self._lengths: list[int] = []
        self._reach = (0, 0)

    def __len__(self) -> int:
        """Return the number of busy slots."""
        return len(self._lengths)

    @property
    def storage(self) -> tuple[int, ...]:
        """Where keys and values lie, and how; other numbers once the cache has taken more."""
        kv = self._kv_Y2SKCD
        return () if kv is None else (kv.data_ptr(), *kv.shape)

    def join(self, past_Y2KLD: torch.Tensor, *, room: int, has_spare: bool = True) -> None:
        """Takes the next free slot for a sequence.

        Args:
            past_Y2KLD: keys ([:, 0]) and values ([:, 1]) of its prompt, on any device.
            room: tokens that it may still grow by.
            has_spare: whether memory is taken for further sequences too where it must be taken.
        """
        length = past_Y2KLD.shape[3]
        slot = len(self._lengths)
        slots = (slot + 1) * (SLOT_FACTOR if has_spare else 1)
        kv = self._fitting(past_Y2KLD, slot + 1, slots=slots, columns=length + room)
        kv[:, :, slot, :, :length] = past_Y2KLD
        self.lengths_S[slot] = length
        self._lengths.append(length)

    def leave(self, slot: int) -> None:
        """Frees a slot; the last busy one moves into it."""
        assert self._kv_Y2SKCD is not None
        last = len(self._lengths) - 1
        if slot != last:
            length = self._lengths[last]
            self._kv_Y2SKCD[:, :, slot, :, :length] = self._kv_Y2SKCD[:, :, last, :, :length]
            self.lengths_S[slot] = self.lengths_S[last]
            self._lengths[slot] = length
        self._lengths.pop()

    def take(self, slot: int) -> torch.Tensor:
        """Return [Y, 2, K, L, D] what a slot holds, in the host's memory, to join again later."""
        assert self._kv_Y2SKCD is not None
        return self._kv_Y2SKCD[:, :, slot, :, : self._lengths[slot]].to("cpu", copy=True)

    def clear(self) -> None:
        """Drops all sequences, and gives the memory back."""
        self._kv_Y2SKCD = None
        self._lengths = []

    def grow(self) -> None:
        """Makes a column for one more token in every busy slot; `write` fills it."""
        self._lengths = [length + 1 for length in self._lengths]
        self.lengths_S[: len(self._lengths)] += 1
        self._reach = len(self._lengths), max(self._lengths)

    def widen(self, *, to_all_columns: bool) -> tuple[int, int]:
        """Round the slots and columns of the step up to their buckets, and return them.

        Free slots take part with one column, which the next sequence to join there overwrites.

        Args:
            to_all_columns: in place of a bucket; for a step that reads no further than it must,
                however many there are, and so has one shape less to tell apart.
        """
        assert self._kv_Y2SKCD is not None
        most_slots, most_columns = self._kv_Y2SKCD.shape[2], self._kv_Y2SKCD.shape[4]
        busy, longest = self._reach
        slots = slot_bucket(busy, most=most_slots)
        columns = most_columns if to_all_columns else column_bucket(longest, most=most_columns)
        self.lengths_S[busy:slots] = 1
        self._reach = slots, columns
        return self._reach

    def shrink(self) -> None:
        """Takes `grow` back, for a step that failed."""
        self._lengths = [length - 1 for length in self._lengths]
        self.lengths_S[: len(self._lengths)] -= 1

    def write(
        self, layer: int, key_RKD: torch.Tensor, value_RKD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Puts a layer's newest keys and values in; returns all: [R, K, longest, D] each."""
        assert self._kv_Y2SKCD is not None
        slots, columns = self._reach
        each = torch.arange(slots, device=key_RKD.device)
        newest = self.lengths() - 1
        keys_SKCD, values_SKCD = self._kv_Y2SKCD[layer]
        # Under autocast they come in half precision whatever the weights and the cache are in.
        keys_SKCD[each, :, newest] = key_RKD.to(self._dtype)
        values_SKCD[each, :, newest] = value_RKD.to(self._dtype)
        return keys_SKCD[:slots, :, :columns], values_SKCD[:slots, :, :columns]

    def lengths(self) -> torch.Tensor:
        """Return [R] tokens that each slot of the step holds, the newest included."""
        return self.lengths_S[: self._reach[0]]

    def mask(self) -> torch.Tensor:
        """Return [R, 1, 1, longest] True where a slot holds a token."""
        places = torch.arange(self._reach[1], device=self.lengths_S.device)
        return (places < self.lengths()[:, None])[:, None, None]

    def _fitting(
        self, past_Y2KLD: torch.Tensor, needed: int, *, slots: int, columns: int
    ) -> torch.Tensor:
        """Return the cache, grown to `slots` or columns where it has fewer than are needed."""
        old = self._kv_Y2SKCD
        layers, _, heads, _, size = past_Y2KLD.shape
        num_slots, num_columns = (0, 0) if old is None else (old.shape[2], old.shape[4])
        if old is not None and needed <= num_slots and columns <= num_columns:
            return old
        if needed > num_slots:
            num_slots = min(self.num_slots, slots)
        num_columns = max(num_columns, -(-columns // COLUMN_STEP) * COLUMN_STEP)
        if not self._lengths:  # nothing to copy, so the two need not be there at once
            old = self._kv_Y2SKCD = None
        # Zeros, for a masked column still enters the sums, and 0 times garbage may be NaN.
        new = torch.zeros(
            (layers, 2, num_slots, heads, num_columns, size),
            dtype=self._dtype,
            device=self._device,
        )
        if old is not None:
            new[:, :, : old.shape[2], :, : old.shape[4]] = old
        self._kv_Y2SKCD = new
        return new
