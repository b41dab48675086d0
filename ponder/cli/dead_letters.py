"""The `ponder dead-letters` commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, err, failures, line, moment, printable, show
from ponder.json_form import json_form
from ponder.steps import dead_letters as steps

if TYPE_CHECKING:
    from catalog.ingest.dead_letters import LetterFilter

SHOWN_CHARS = 2_000
"""Of a key or value; `--json` gives it whole."""

app = typer.Typer(
    help="What could not be landed or embedded: list it, look at it, try it again, drop it.",
    no_args_is_help=True,
)

StageOption = Annotated[
    str | None, typer.Option(help="Only of this stage: decode, validate, media or embed.")
]
TopicOption = Annotated[str | None, typer.Option(help="Only of this Kafka topic or file.")]
PartitionOption = Annotated[int | None, typer.Option(help="Only of this partition.")]
OffsetOption = Annotated[int | None, typer.Option(help="Only at this offset or line.")]
SinceOption = Annotated[
    str | None,
    typer.Option(help="Only those that failed at this time or later, e.g. 2026-01-31T08:00:00Z."),
]


def _filter(
    stage: str | None,
    topic: str | None,
    partition: int | None,
    offset: int | None,
    since: str | None,
) -> "LetterFilter":
    from catalog.ingest.dead_letters import LetterFilter

    return LetterFilter(
        stage=stage,
        topic=topic,
        partition=partition,
        offset=offset,
        since=None if since is None else moment(since),
    )


@app.command("list")
def list_letters(
    context: typer.Context,
    stage: StageOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    offset: OffsetOption = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option(help="How many to show.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List dead letters with their reasons, newest first."""
    with failures():
        meant = _filter(stage, topic, partition, offset, since)
        letters = steps.list_letters(context.obj, meant, limit=limit)
        num_more = steps.count_letters(context.obj, meant) - len(letters)
    if as_json:
        show({"dead_letters": letters}, as_json)
        return
    for letter in letters:
        where = f"{letter.topic} {letter.partition} {letter.offset}"
        line(printable(f"{where:<24} {letter.stage:<9} {letter.reason}"))
    if num_more > 0:
        err.print(f"{num_more} older ones are not shown; --limit shows more", highlight=False)


@app.command("show")
def show_letter(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="Kafka topic or file.")],
    partition: Annotated[int, typer.Argument(min=0)],
    offset: Annotated[int, typer.Argument(min=0)],
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter: what came, why it was refused, when."""
    with failures():
        letter = steps.show_letter(context.obj, topic, partition, offset)
    if as_json:
        show(letter, as_json)
        return
    for name, value in json_form(letter).items():
        if not name.endswith("_base64") and value is not None:
            text = printable(str(value), max_chars=SHOWN_CHARS)
            line(f"  {name:<12} {text}")


@app.command("replay")
def replay_letters(
    context: typer.Context,
    stage: StageOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    offset: OffsetOption = None,
    since: SinceOption = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that images named by a path lie in, for letters of files."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Land dead letters again; those that land are gone, the others keep the reason of today."""
    with failures():
        meant = _filter(stage, topic, partition, offset, since)
        with bar("replay") as progress:
            counts = steps.replay_letters(context.obj, meant, data=data, progress=progress)
        show(counts, as_json)


@app.command("drop")
def drop_letters(
    context: typer.Context,
    stage: StageOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    offset: OffsetOption = None,
    since: SinceOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Throw dead letters away, with the records in them."""
    with failures():
        meant = _filter(stage, topic, partition, offset, since)
        doomed = steps.count_letters(context.obj, meant)
    if doomed and not yes:
        typer.confirm(f"Throw {doomed} dead letters away?", abort=True, err=True)
    with failures():
        show({"dropped": steps.drop_letters(context.obj, meant)}, as_json)
