"""`ponder config`: which settings hold, where they come from, and what is wrong with them."""

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, printable, show
from ponder.json_form import json_form
from ponder.settings_sources import SettingsError

app = typer.Typer(help="Look at the settings, and check them.", no_args_is_help=True)


@app.command("show")
def show_settings(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show every setting and where it comes from; secrets are masked."""
    sources = context.obj
    with failures():
        shown = json_form(sources.settings().shown())
    if as_json:
        show(
            {name: {"value": shown[name], "from": sources.origin(name)} for name in shown}, as_json
        )
        return
    for name, value in shown.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else _text(value)
        line(printable(f"{name:<20} {sources.origin(name):<24} {text}").rstrip())


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return str(value)


@app.command("check")
def check_settings(context: typer.Context, as_json: JsonOption = False) -> None:
    """Check the settings: a line for each problem, and exit code 1 when there is one."""
    try:
        context.obj.settings()
        problems: tuple[str, ...] = ()
    except SettingsError as error:
        problems = error.problems
    if as_json:
        show({"problems": problems}, as_json)
    for problem in () if as_json else problems:
        line(printable(problem))
    if problems:
        raise typer.Exit(1)
