"""Tests for embedder/engine/memory.py: which errors mean that memory has run out."""

import pytest
import torch

from embedder.engine.memory import (
    MAX_PATIENCE,
    PATIENCE,
    ShrinkingLimit,
    is_device_lost,
    is_out_of_memory,
)


def test_the_cpu_allocators_own_error_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected
    assert not is_device_lost(error)


def test_a_cuda_error_means_that_the_device_is_lost():
    assert is_device_lost(torch.AcceleratorError("CUDA error: an illegal memory access"))


def held_until_it_rises(limit, most=10_000):
    """How often a limit holds before it comes back a step."""
    before = limit.value
    for times in range(1, most):
        limit.held()
        if limit.value > before:
            return times
    raise AssertionError(f"{before} never rose")


def test_a_limit_that_was_lowered_comes_back_in_steps_to_what_was_asked_and_no_further():
    limit = ShrinkingLimit(100)
    limit.lower(30)
    assert held_until_it_rises(limit) == PATIENCE
    assert limit.value == 60
    held_until_it_rises(limit)
    assert limit.value == 100
    limit.held()
    assert limit.value == 100


def test_who_was_disappointed_again_waits_twice_as_long():
    limit, waits = ShrinkingLimit(100), []
    for _ in range(9):
        limit.lower(10)
        waits.append(held_until_it_rises(limit))
    assert waits == [min(PATIENCE * 2**n, MAX_PATIENCE) for n in range(9)]


def test_a_limit_is_at_least_one_and_does_not_rise_by_being_lowered():
    limit = ShrinkingLimit(4)
    limit.lower(9)
    assert limit.value == 4
    limit.lower(0)
    assert limit.value == 1
