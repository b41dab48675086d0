"""How the command line talks: results on standard output, progress and errors on standard error."""

import json
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event
from typing import Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from typer.main import get_current_context

from ponder.cli.full_disk import advice, says_full
from ponder.json_form import json_form
from ponder.settings import Settings
from ponder.telemetry.json_lines import JsonLines

MAX_BRIEF_CHARS = 100
"""Of a list or object that is printed on one line; a longer one gets a line for every entry."""

EMPTY: tuple[Any, ...] = (None, "", {}, [])

logger = logging.getLogger("ponder")

out = Console()
err = Console(stderr=True)


def log_to_console(*, verbose: bool) -> None:
    """Send warnings, and with `verbose` every step, to standard error."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(console=err)])


def log_as_json() -> None:
    """Send every step to standard error from now on, as an object of JSON a line and nothing else.

    Errors that end the command are lines too, and there are no progress bars.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def logs_json() -> bool:
    """Whether standard error is read by programs."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.root.handlers)


@contextmanager
def failures() -> Iterator[None]:
    """Turn errors that a user can mend into a line and exit code 1; others keep their traceback."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if says_full(error):
            context = get_current_context(silent=True)
            told = advice(context.find_object(Settings) if context else None)
        elif isinstance(error, ValueError | LookupError | OSError | RuntimeError):
            told = str(error)
        else:
            raise
        if logs_json():
            logger.error(told)
        else:
            err.print(f"[red]ponder:[/red] {escape(told)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


class RateColumn(ProgressColumn):
    """How many a second, over the last half minute."""

    def render(self, task: Task) -> Text:
        """Return the rate; nothing until there is something to divide by."""
        return Text("" if task.speed is None else f"{task.speed:.3g}/s")


@contextmanager
def stop_signals() -> Iterator[Event]:
    """Yield an event that SIGTERM and Ctrl-C set, so that work can end; a second one kills."""
    stop = Event()

    def ask(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def bar(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar; yield the function that is told how much more is done.

    A total that is not known beforehand is whatever was done at the end.
    """
    columns = (
        TextColumn("{task.description:<15}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        *([] if total is None else [TimeRemainingColumn()]),
    )
    with Progress(*columns, console=err, disable=logs_json()) as progress:
        task = progress.add_task(label, total=total)

        def advance(done: int) -> None:
            progress.advance(task, done)

        yield advance
        completed = progress.tasks[0].completed or 1
        progress.update(task, total=completed, completed=completed)


@contextmanager
def silence() -> Iterator[Callable[[int], None]]:
    """Yield what `bar` does and show nothing, for a process that does not talk."""
    yield lambda done: None


def show(result: Any, as_json: bool) -> None:
    """Print a dataclass or mapping, as one line of JSON or line by line without empty fields."""
    plain = json_form(result)
    if as_json:
        typer.echo(json.dumps(plain))
        return
    for name, value in plain.items():
        if value not in EMPTY:
            line(f"  {name:<18} {_brief(value)}" if _is_short(value) else f"  {name}")
            for entry in () if _is_short(value) else _entries(value):
                line(f"    {entry}")


def line(text: str) -> None:
    """Print a line as it is, however wide the terminal: what reads lines gets whole ones."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def moment(text: str) -> datetime:
    """Return the time that a person wrote, in UTC when no zone is named.

    >>> moment("2026-01-31").isoformat()
    '2026-01-31T00:00:00+00:00'

    Raises:
        ValueError: it is not a date or time of ISO 8601.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"a time must look like 2026-01-31 or 2026-01-31T08:00:00Z, got {text!r}"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def printable(text: str, *, max_chars: int | None = None) -> str:
    r"""Return a text that a terminal shows and does not obey: what cannot be printed is escaped.

    >>> printable("a\x1b[2Jb", max_chars=9)
    'a\\x1b[2Jb'
    """
    cut = text if max_chars is None else text[:max_chars]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return safe if len(cut) == len(text) else f"{safe}... ({len(text)} characters)"


def _is_short(value: Any) -> bool:
    return not isinstance(value, list | dict) or len(_brief(value)) <= MAX_BRIEF_CHARS


def _entries(value: dict[str, Any] | list[Any]) -> Iterator[str]:
    if isinstance(value, list):
        yield from map(_brief, value)
    elif all(isinstance(inner, int) for inner in value.values()):  # counts of long names
        yield from (f"{inner:>8}  {name}" for name, inner in value.items())
    else:
        named = ((name, inner) for name, inner in value.items() if inner not in EMPTY)
        yield from (f"{name:<18} {_brief(inner)}" for name, inner in named)


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
