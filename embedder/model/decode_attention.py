"""What the newest tokens attend to: each its own slot, and slots are of unlike lengths.

Through a mask every slot is read up to the longest. A kernel that is told the lengths reads each as
far as it goes: for 256 slots of 216 tokens on average, the longest of 317, that took an H200 with
torch 2.11 0.13 ms a layer, and 0.27 through a mask.

Shape legend:
  S = slots of a step, K = key-value heads, G = query heads that share one, C = columns,
  D = head size, Q = S x G queries, W = rows of keys: one a column and slot
"""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F

from embedder.model.kv_cache import SlotCache

DecodeAttention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""[S, K, G, D] of queries [S, K, G, D], keys and values [S, K, C, D] as the cache gives them."""


class LengthKernel(Protocol):
    """Attention of sequences of unlike lengths that lie in one tensor, one after the other."""

    def __call__(
        self,
        query_QKD: torch.Tensor,
        keys_WKD: torch.Tensor,
        values_WKD: torch.Tensor,
        *,
        starts: tuple[torch.Tensor, torch.Tensor],
        lengths_S: torch.Tensor,
        most: tuple[int, int],
    ) -> torch.Tensor:
        """Return [Q, K, D].

        Args:
            query_QKD: of all sequences.
            keys_WKD: likewise; a row that no sequence has read yet may hold anything.
            values_WKD: likewise.
            starts: [S + 1] int32, the first query and the first row of each sequence, and the end.
            lengths_S: int32, rows that each attends to.
            most: queries of a sequence, and rows of one, at most.
        """
        ...


def flash_by_length(
    query_QKD: torch.Tensor,
    keys_WKD: torch.Tensor,
    values_WKD: torch.Tensor,
    *,
    starts: tuple[torch.Tensor, torch.Tensor],
    lengths_S: torch.Tensor,
    most: tuple[int, int],
) -> torch.Tensor:
    """Attend by torch's flash kernel, on a GPU and in half precision; a `LengthKernel`.

    By its inner name: the public one, `varlen_attn`, is younger than torch 2.6, which will do here.
    """
    return torch.ops.aten._flash_attention_forward(
        *(query_QKD, keys_WKD, values_WKD),
        *starts,
        *most,
        0.0,  # of dropout
        False,  # not causal: what is kept is all in the past
        False,
        seqused_k=lengths_S,
    )[0]


def length_kernel(device: torch.device, dtype: torch.dtype) -> LengthKernel | None:
    """Return the kernel that a device has for numbers of a kind; None: it reads through a mask."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None
    return flash_by_length if torch.cuda.get_device_capability(device) >= (8, 0) else None


def decode_attention(cache: SlotCache, kernel: LengthKernel | None) -> DecodeAttention:
    """Return the attention of one step, the same for all layers."""
    return _masked(cache.mask()) if kernel is None else _by_length(cache.lengths(), kernel)


def _masked(mask_S11C: torch.Tensor) -> DecodeAttention:
    def attend(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask_S11C)

    return attend


def _by_length(lengths_S: torch.Tensor, kernel: LengthKernel) -> DecodeAttention:
    num_slots = len(lengths_S)
    each = torch.arange(num_slots + 1, dtype=torch.int32, device=lengths_S.device)
    lengths_S = lengths_S.int()

    def attend(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        _, heads, group, size = query.shape
        keys_WKD, rows_of_slot = _rows(keys)
        mixed_QKD = kernel(
            query.transpose(1, 2).reshape(-1, heads, size),
            keys_WKD,
            _rows(values)[0],
            starts=(each * group, each * rows_of_slot),
            lengths_S=lengths_S,
            most=(group, keys.shape[2]),
        )
        return mixed_QKD.view(num_slots, group, heads, size).transpose(1, 2)

    return attend


def _rows(kept_SKCD: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return [W, K, D] the same memory, and the rows from one slot to the next.

    The heads of a slot lie one after the other, each with all its columns. So a row of one head
    is followed by the next column's of the same head, and the next head is as far as before.
    """
    slots, heads, columns, size = kept_SKCD.shape
    of_slot, of_head, of_column, _ = kept_SKCD.stride()
    rows = of_slot // of_column
    whole = ((slots - 1) * rows + columns, heads, size)
    return kept_SKCD.as_strided(whole, (of_column, of_head, 1)), rows
