"""The commands that keep topics, lake, embeddings and index in agreement: backfill and audit."""

from datetime import datetime
from typing import Annotated

import typer

from ponder.cli.terminal import bar, failures, line, moment, printable, show
from ponder.steps import dead_letters as upkeep

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def backfill(
    context: typer.Context,
    start: Annotated[
        str,
        typer.Option(
            "--from", help="First offset, or first time, e.g. 2026-01-31 or 2026-01-31T08:00:00Z."
        ),
    ],
    end: Annotated[
        str | None,
        typer.Option("--to", help="First offset or time no longer landed [default: all there is]"),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Only this topic.")] = None,
    partition: Annotated[int | None, typer.Option(help="Only this partition.", min=0)] = None,
    as_json: JsonOption = False,
) -> None:
    """Land a past window of the Kafka topics again; the group's place in them does not move."""
    from catalog.kafka.backfill import Window

    with failures():
        window = Window(
            start=_place(start),
            end=None if end is None else _place(end),
            topic=topic,
            partition=partition,
        )
        with bar("backfill") as progress:
            counts = upkeep.backfill(context.obj, window, progress=progress)
        show(counts, as_json)


def _place(text: str) -> int | datetime:
    return int(text) if text.isdecimal() else moment(text)


def audit(
    context: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended, then audit again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare topics, lake, embeddings and index by key and hash; exit code 1 when they differ."""
    from ponder.steps import audit as auditing

    with failures():
        result = auditing.audit(context.obj)
        repaired = auditing.repair(context.obj, result) if repair else {}
        if repaired:
            result = auditing.audit(context.obj)
    advice = auditing.advice(result)
    if as_json:
        show(result.plain() | {"repaired": repaired, "advice": advice}, as_json)
    else:
        for finding in [*result.faults, *result.notes]:
            ids = ", ".join(finding.first)
            found = f"{finding.name:<20} {finding.where:<24} {finding.count:>8}  {ids}"
            line(printable(found))
        counts = {"agrees": not result.faults, "looked_for": len(result.findings)}
        show(counts | {"repaired": repaired, "advice": "; ".join(advice)}, as_json)
    if result.faults:
        raise typer.Exit(1)
