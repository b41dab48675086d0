"""Tests for kv_cache.py: a cache of slots against one list of columns per sequence."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from embedder.model.kv_cache import SlotCache

LAYERS, HEADS, SIZE = 2, 2, 4
CPU = torch.device("cpu")


def columns(length, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(LAYERS, 2, HEADS, length, SIZE, generator=generator)


actions = st.tuples(st.sampled_from(["join", "leave", "step"]), st.integers(1, 150))


@given(st.lists(actions, max_size=60))
def test_whatever_joins_leaves_and_grows_each_slot_holds_its_own_columns(script):
    cache = SlotCache(6, dtype=torch.float32, device=CPU)
    expected = []  # [layers, 2, heads, length, size] per busy slot
    for number, (action, size) in enumerate(script):
        if action == "join" and len(expected) < 6:
            expected.append(columns(size, number))
            cache.join(expected[-1], room=60)
        elif action == "leave" and expected:
            slot = size % len(expected)
            cache.leave(slot)
            expected[slot] = expected[-1]
            expected.pop()
        elif action == "step" and expected:
            new = columns(len(expected), number)  # one column for each busy slot
            cache.grow()
            for layer in range(LAYERS):
                keys, values = cache.write(layer, *new[layer].transpose(1, 2))
            expected = [
                torch.cat([past, new[:, :, :, [slot]]], dim=3) for slot, past in enumerate(expected)
            ]
            for slot, past in enumerate(expected):
                length = past.shape[3]
                torch.testing.assert_close(keys[slot, :, :length], past[-1, 0], rtol=0, atol=0)
                torch.testing.assert_close(values[slot, :, :length], past[-1, 1], rtol=0, atol=0)
                assert cache.mask()[slot].sum() == length
        assert len(cache) == len(expected)
        for slot, past in enumerate(expected):
            torch.testing.assert_close(cache.take(slot), past, rtol=0, atol=0)


def test_a_step_that_failed_can_be_taken_back():
    cache = SlotCache(1, dtype=torch.float32, device=CPU)
    past = columns(5, 0)
    cache.join(past, room=1)
    cache.grow()
    cache.shrink()
    torch.testing.assert_close(cache.take(0), past, rtol=0, atol=0)


def test_memory_is_taken_for_the_sequences_that_are_there_and_not_for_all_slots():
    taken = []

    class Watched(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            if isinstance(result, torch.Tensor):
                taken.append(result.numel())
            return result

    cache = SlotCache(1_000, dtype=torch.float32, device=CPU)
    with Watched():
        cache.join(columns(5, 0), room=1)
    # 4 slots of 32 columns, of the thousand that may come
    assert max(taken) == LAYERS * 2 * 4 * HEADS * 32 * SIZE


def test_what_comes_back_from_the_host_is_kept_on_the_cache_s_own_device():
    cache = SlotCache(4, dtype=torch.float32, device=torch.device("meta"))
    cache.join(torch.zeros(2, 2, 1, 5, 8), room=3)  # of a prompt that waited on the host
    keys, _ = cache.write(0, torch.zeros(1, 1, 8, device="meta"), torch.zeros(1, 1, 8))
    assert keys.device.type == "meta"


def test_no_more_slots_are_taken_than_are_asked_for_without_any_to_spare():
    past = torch.zeros(1, 2, 1, 5, 8)
    taken = []
    for has_spare in (True, False):
        cache = SlotCache(100, dtype=torch.float32, device=CPU)
        cache.join(past, room=3, has_spare=has_spare)
        taken.append(cache._kv_Y2SKCD.shape[2])
    assert taken == [4, 1]
