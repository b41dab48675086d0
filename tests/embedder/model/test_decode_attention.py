"""Tests for decode_attention.py: by lengths and through a mask, against one sequence at a time."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.model.decode_attention import decode_attention, flash_by_length, length_kernel
from embedder.model.kv_cache import SlotCache
from tests.embedder.model.gathered_attention import gathered

HEADS, GROUP, SIZE = 3, 2, 8
CPU = torch.device("cpu")


def filled(lengths, *, all_columns, room=9):
    """A cache of sequences that have each grown by one, and its keys and values of layer 0."""
    cache = SlotCache(8, dtype=torch.float32, device=CPU)
    generator = torch.Generator().manual_seed(0)
    for length in lengths:
        cache.join(torch.randn(1, 2, HEADS, length, SIZE, generator=generator), room=room)
    cache.grow()
    cache.widen(to_all_columns=all_columns)
    new = torch.randn(2, len(cache.lengths()), HEADS, SIZE, generator=generator)
    return cache, *cache.write(0, *new)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.booleans())
def test_each_slot_attends_to_its_own_columns_and_to_no_others(lengths, all_columns):
    cache, keys, values = filled(lengths, all_columns=all_columns)
    query = torch.randn(len(keys), HEADS, GROUP, SIZE, generator=torch.Generator().manual_seed(1))
    masked = decode_attention(cache, None)(query, keys, values)
    for slot, length in enumerate(lengths):  # what nobody has written may be anything
        for kept in (keys, values):
            kept[slot, :, length + 1 :] = float("nan")
    by_length = decode_attention(cache, gathered)(query, keys, values)
    for slot, length in enumerate(lengths):
        alone = query[slot], keys[slot, :, : length + 1], values[slot, :, : length + 1]
        expected = F.scaled_dot_product_attention(*alone)
        torch.testing.assert_close(masked[slot], expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(by_length[slot], expected, atol=1e-6, rtol=0)


def test_the_flash_kernel_takes_what_it_is_given():
    """On the device `meta` its shapes alone are worked out, by torch's own rules."""
    query = torch.empty(4 * GROUP, HEADS, SIZE, device="meta", dtype=torch.bfloat16)
    rows = torch.empty(100, HEADS, SIZE, device="meta", dtype=torch.bfloat16)
    starts = torch.empty(5, device="meta", dtype=torch.int32)
    lengths = torch.empty(4, device="meta", dtype=torch.int32)
    options = {"starts": (starts, starts), "lengths_S": lengths, "most": (GROUP, 25)}
    assert flash_by_length(query, rows, rows, **options).shape == query.shape


@pytest.mark.parametrize(
    ("device", "dtype", "capability", "has_kernel"),
    [
        ("cuda", torch.bfloat16, (9, 0), True),
        ("cuda", torch.bfloat16, (7, 5), False),
        ("cuda", torch.float32, (9, 0), False),
        ("cpu", torch.bfloat16, (9, 0), False),
    ],
)
def test_lengths_are_read_by_flash_where_it_can_compute(
    device, dtype, capability, has_kernel, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    kernel = length_kernel(torch.device(device), dtype)
    assert kernel is (flash_by_length if has_kernel else None)
