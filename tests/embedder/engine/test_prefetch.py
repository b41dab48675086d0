"""Tests for embedder/engine/prefetch.py: order, windows, and no more drawn than promised."""

import threading
from itertools import count, islice

import pytest

from embedder.engine.prefetch import Prefetch, prepared_windows


def prefetch(window, num_workers, slow_window=None):
    return Prefetch(window=window, num_workers=num_workers, slow_window=slow_window)


def thread_of(number):
    return number, threading.current_thread().name.startswith("prepare")


@pytest.mark.parametrize("slow_window", [None, 1, 4])
@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_everything_comes_once_in_order_in_windows(num_workers, slow_window):
    asked = prefetch(4, num_workers, slow_window)
    windows = prepared_windows(range(10), lambda n: n * n, asked)
    assert list(windows) == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]


@pytest.mark.parametrize(("num_workers", "drawn_at_most"), [(0, 4), (2, 8)])
def test_of_an_endless_source_no_more_than_two_windows_are_drawn(num_workers, drawn_at_most):
    source = count()
    windows = prepared_windows(source, str, prefetch(4, num_workers))
    assert list(islice(windows, 1)) == [["0", "1", "2", "3"]]
    assert next(source) <= drawn_at_most


def test_the_next_window_is_prepared_while_this_one_is_in_use():
    prepared = threading.Event()

    def prepare(number):
        if number == 2:
            prepared.set()
        return number

    windows = prepared_windows(range(6), prepare, prefetch(2, 1))
    assert next(windows) == [0, 1]
    assert prepared.wait(timeout=10)
    windows.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_window_is_full_when_it_has_so_many_slow_inputs(num_workers):
    asked = prefetch(5, num_workers, slow_window=2)
    windows = prepared_windows(range(12), int, asked, is_slow=lambda n: n % 3 == 0 and n < 8)
    assert list(windows) == [[0, 1, 2, 3], [4, 5, 6, 7, 8], [9, 10, 11]]


def test_threads_prepare_slow_inputs_alone_where_others_gain_nothing():
    asked = prefetch(4, 2, slow_window=4)
    windows = prepared_windows(range(6), thread_of, asked, is_slow=lambda n: n in (1, 4))
    assert [by_thread for window in windows for _, by_thread in window] == [
        *[False, True, False, False],
        *[True, False],
    ]
    everything = prepared_windows(range(6), thread_of, prefetch(4, 2))
    assert all(by_thread for window in everything for _, by_thread in window)


def test_no_thread_is_started_for_an_input_that_is_alone():
    windows = prepared_windows([7], thread_of, prefetch(4, 2))
    assert list(windows) == [[(7, False)]]
