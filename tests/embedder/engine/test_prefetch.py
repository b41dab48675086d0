"""Tests for embedder/engine/prefetch.py: order, windows, and no more drawn than promised."""

import threading
from itertools import count, islice

import pytest

from embedder.engine.prefetch import prepared_windows


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_everything_comes_once_in_order_in_windows(num_workers):
    windows = prepared_windows(range(10), lambda n: n * n, window=4, num_workers=num_workers)
    assert list(windows) == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]


@pytest.mark.parametrize(("num_workers", "drawn_at_most"), [(0, 4), (2, 8)])
def test_of_an_endless_source_no_more_than_two_windows_are_drawn(num_workers, drawn_at_most):
    source = count()
    windows = prepared_windows(source, str, window=4, num_workers=num_workers)
    assert list(islice(windows, 1)) == [["0", "1", "2", "3"]]
    assert next(source) <= drawn_at_most


def test_the_next_window_is_prepared_while_this_one_is_in_use():
    prepared = threading.Event()

    def prepare(number):
        if number == 2:
            prepared.set()
        return number

    windows = prepared_windows(range(6), prepare, window=2, num_workers=1)
    assert next(windows) == [0, 1]
    assert prepared.wait(timeout=10)
    windows.close()
