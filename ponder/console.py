"""How the command line talks: results on standard output, progress and errors on standard error."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.logging import RichHandler
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

out = Console()
err = Console(stderr=True)


def log_to_console(*, verbose: bool) -> None:
    """Sends warnings, and with `verbose` every step, to standard error."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(console=err)])
    # These log a traceback for every failed call, expected ones too; the exception says it all.
    for noisy in ("pymilvus.decorators", "grpc._server"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


@contextmanager
def failures() -> Iterator[None]:
    """Errors that a user can mend become one line and exit code 1; others keep their traceback."""
    try:
        yield
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        err.print(f"[red]ponder:[/red] {error}", highlight=False)
        raise typer.Exit(1) from error


class RateColumn(ProgressColumn):
    """How many a second, over the last half minute."""

    def render(self, task: Task) -> Text:
        """Nothing until there is something to divide by."""
        return Text("" if task.speed is None else f"{task.speed:.3g}/s")


@contextmanager
def bar(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar with rate and times; gives the function that is told how much more is done.

    A total that is not known beforehand is whatever was done at the end.
    """
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        *([] if total is None else [TimeRemainingColumn()]),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(label, total=total)

        def advance(done: int) -> None:
            progress.advance(task, done)

        yield advance
        completed = progress.tasks[0].completed or 1
        progress.update(task, total=completed, completed=completed)


def show(result: dict[str, Any], as_json: bool) -> None:
    """Prints a result, as one line of JSON or one line a field; empty fields are left out."""
    if as_json:
        typer.echo(json.dumps(result, default=str))
        return
    for name, value in result.items():
        if value not in (None, "", {}, []):
            out.print(f"  {name:<18} {_brief(value)}", highlight=False, markup=False)


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
