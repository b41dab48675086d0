"""Tests for ponder/cli/terminal.py: results, errors, and how a command is asked to end."""

import errno
import os
import signal

import pytest
import typer
from deltalake.exceptions import DeltaError
from typer.testing import CliRunner

from ponder.cli.terminal import failures, show, stop_signals
from ponder.settings import Settings


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


def full_by_errno():
    raise OSError(errno.ENOSPC, "No space left on device")


def full_by_the_words_of_a_library():
    try:
        full_by_errno()
    except OSError as error:
        raise DeltaError(f"Generic LocalFileSystem error: {error}") from None


@pytest.mark.parametrize("fail", [full_by_errno, full_by_the_words_of_a_library])
def test_a_full_disk_is_a_line_that_says_where_and_what_to_do(fail, tmp_path):
    app = typer.Typer()

    @app.command()
    def write(context: typer.Context) -> None:
        context.obj = Settings(home=tmp_path / "not_yet" / "home", lake="s3://elsewhere/lake")
        with failures():
            fail()

    result = CliRunner().invoke(app)
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr
    assert str(tmp_path) in result.stderr
    assert "Traceback" not in result.stderr


def test_an_error_that_nobody_can_mend_keeps_its_traceback():
    with pytest.raises(DeltaError, match="log segment"), failures():
        raise DeltaError("invalid log segment")


def test_an_exit_code_passes():
    with pytest.raises(typer.Exit) as found, failures():
        raise typer.Exit(3)
    assert found.value.exit_code == 3
