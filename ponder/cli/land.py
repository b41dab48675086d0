"""`ponder land`, `publish` and `backfill`: from folders and topics to the lake."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ponder.cli.options import DataOption, JsonOption, MaxDeleteOption, SnapshotOption
from ponder.cli.terminal import bar, failures, moment, show, stop_signals
from ponder.steps import land as steps
from ponder.steps.backfill import backfill as land_window


def land(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="Folder to land; without it, the Kafka topics are read.")
    ] = None,
    snapshot: SnapshotOption = False,
    max_delete_share: MaxDeleteOption = 0.1,
    follow: Annotated[
        bool, typer.Option("--follow", help="Kafka: go on at the end, until SIGTERM or Ctrl-C.")
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option(help="Kafka: serve Prometheus metrics here meanwhile.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Land items and events in the lake; what is wrong goes to dead_letters."""
    with failures():
        if data is None:
            with stop_signals() as stop, bar("land") as progress:
                landed = steps.land_kafka(
                    context.obj,
                    follow=follow,
                    stop=stop,
                    timeout_s=None,
                    metrics_port=metrics_port,
                    progress=progress,
                )
            show(landed, as_json)
            return
        with bar("land") as progress:
            from_folder = steps.land_folder(
                context.obj,
                data,
                snapshot=snapshot,
                max_delete_share=max_delete_share,
                progress=progress,
            )
        show(from_folder, as_json)


def publish(
    context: typer.Context,
    data: DataOption,
    as_json: JsonOption = False,
) -> None:
    """Send a folder's items and events to the Kafka topics."""
    with failures():
        show(steps.publish(context.obj, data), as_json)


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
            landed = land_window(context.obj, window, progress=progress)
        show(landed, as_json)


def _place(text: str) -> int | datetime:
    return int(text) if text.isdecimal() else moment(text)
