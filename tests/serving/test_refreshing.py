"""Tests for serving/refreshing.py."""

import logging
import threading

from serving.refreshing import refreshed


def test_refreshes_go_on_until_the_block_ends_whatever_one_of_them_raises(caplog):
    calls, enough, mended = [], threading.Event(), threading.Event()

    def broken():
        if not mended.is_set():
            raise OSError("the lake is away")

    def counted():
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            mended.set()
        if len(calls) >= 6:
            enough.set()

    with (
        caplog.at_level(logging.WARNING),
        refreshed({"broken": broken, "counted": counted}, every_s=0.001),
    ):
        assert enough.wait(10)
    assert set(calls) == {"refresh"}
    after = len(calls)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["cannot refresh broken: OSError: the lake is away", "broken is refreshed again"]
    assert len(calls) == after
