"""The `ponder` command: every step of the pipeline, and the jobs made of them.

Exit codes: 0 done, 1 a step failed or refused (the reason is on standard error), 2 wrong usage.
"""

from pathlib import Path
from typing import Annotated

import typer

from ponder.cli import (
    codes,
    config,
    dead_letters,
    embedder,
    events,
    features,
    lake,
    models,
    ranker,
    restore,
    versions,
)
from ponder.cli.bazaar import bazaar
from ponder.cli.doctor import doctor
from ponder.cli.embed import embed, plan
from ponder.cli.emoji import emoji
from ponder.cli.encode import encode
from ponder.cli.evaluate import evaluate
from ponder.cli.finetune import finetune
from ponder.cli.index import drop, index, promote, rollback, validate
from ponder.cli.land import backfill, land, publish
from ponder.cli.nano import nano
from ponder.cli.recall import key, recall, serve
from ponder.cli.recommend import recommend
from ponder.cli.reembed import reembed
from ponder.cli.run import demo, report, run
from ponder.cli.small import small
from ponder.cli.status import audit, status
from ponder.cli.terminal import failures, log_as_json, log_to_console
from ponder.settings_sources import read_sources

app = typer.Typer(
    help="Multimodal recall and ranking whose embedder reasons before it embeds, when that pays.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(events.app, name="events")
app.add_typer(lake.app, name="lake")
app.add_typer(embedder.app, name="embedder")
app.add_typer(models.app, name="models")
app.add_typer(codes.app, name="codes")
app.add_typer(features.app, name="features")
app.add_typer(ranker.app, name="ranker")
app.add_typer(config.app, name="config")
app.add_typer(versions.app, name="versions")
app.add_typer(restore.app, name="restore")

COMMANDS = (
    *(bazaar, emoji, land, publish, plan, embed, encode, finetune, nano, small),
    *(index, validate, promote, rollback, drop, reembed),
    *(evaluate, recall, recommend, serve, key),
    *(backfill, audit, doctor, status, run, demo, report),
)
for command in COMMANDS:
    app.command()(command)


@app.callback()
def main(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the lake, index and reports [default: $PONDER_HOME or .ponder]"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Embedder: nano, small, a folder, a hub id, or registry:NAME "
            "[default: $PONDER_MODEL or nano]"
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings [default: $PONDER_CONFIG or ponder.toml]"),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")] = False,
) -> None:
    """Read the settings: the options, PONDER_* variables, and ponder.toml."""
    log_to_console(verbose=verbose)
    given = {"home": home, "model": model}
    options = {name: value for name, value in given.items() if value is not None}
    sources = read_sources(config, **options)
    if context.invoked_subcommand in ("config", "doctor"):  # there for settings that are wrong
        context.obj = sources
        return
    with failures():
        context.obj = sources.settings()
        if context.obj.log_format == "json":
            log_as_json()
