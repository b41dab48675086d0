"""Tests for ponder/cli/terminal.py: how a command that follows is asked to end."""

import os
import signal

import pytest

from ponder.cli.terminal import show, stop_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_once_and_is_deadly_the_second_time(number):
    with stop_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(5)
        assert signal.getsignal(number) == signal.SIG_DFL


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_signals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_short_result_is_a_line_a_field_and_a_long_one_a_line_an_entry(capsys):
    reasons = {f"decode: reason {n} [/not markup]": n for n in range(9)}
    partitions = [{"topic": "items", "partition": n, "lag": 0} for n in range(4)]
    show({"landed": 1, "items": {"new": 2}, "none": {}, "rejected": reasons}, False)
    show({"partitions": partitions}, False)
    show({"land": {"read": 7, "items": {"new": 2}, "none": None, "text": "x" * 90}}, False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["  landed             1", "  items              new 2", "  rejected"]
    assert lines[3] == "           0  decode: reason 0 [/not markup]"
    assert lines[12:] == [
        "  partitions",
        *(f"    topic items, partition {n}, lag 0" for n in range(4)),
        "  land",
        "    read               7",
        "    items              new 2",
        "    text               " + "x" * 90,
    ]


def test_a_line_is_never_broken(capsys):
    show({"reason": "word " * 100}, False)
    assert len(capsys.readouterr().out.splitlines()) == 1
