"""Tests for embedder/engine/memory.py: which errors mean that memory has run out."""

import pytest
import torch

from embedder.engine.memory import is_device_lost, is_out_of_memory


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
