"""The `ponder events` commands."""

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, moment, printable, show
from ponder.steps import events as steps

if TYPE_CHECKING:
    from catalog.lake.event_corrections import EventFilter

app = typer.Typer(
    help="Events that should not be, or are wrong: drop them, correct them, see what was done.",
    no_args_is_help=True,
)

IdOption = Annotated[list[str] | None, typer.Option("--id", help="This event; may be repeated.")]
UserOption = Annotated[str | None, typer.Option(help="Only of this user.")]
ItemOption = Annotated[str | None, typer.Option(help="Only of this item.")]
RequestOption = Annotated[str | None, typer.Option(help="Only of this request.")]
ActionOption = Annotated[str | None, typer.Option(help="Only of this action.")]
SinceOption = Annotated[
    str | None, typer.Option(help="Only from this time on, e.g. 2026-01-31T08:00:00Z.")
]
UntilOption = Annotated[str | None, typer.Option(help="Only before this time.")]
ReasonOption = Annotated[str, typer.Option(help="Why; kept with every event.")]
ByOption = Annotated[
    str | None, typer.Option(help="Who does it [default: the user of this machine]")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also when more than a tenth of all events change.")
]


def _filter(
    ids: list[str] | None,
    user: str | None,
    item: str | None,
    request: str | None,
    action: str | None,
    since: str | None,
    until: str | None,
) -> "EventFilter":
    from catalog.lake.event_corrections import EventFilter

    return EventFilter(
        event_ids=tuple(ids or ()),
        user_id=user,
        item_id=item,
        request_id=request,
        action=action,
        since=None if since is None else moment(since),
        until=None if until is None else moment(until),
    )


@app.command("drop")
def drop(
    context: typer.Context,
    reason: ReasonOption,
    ids: IdOption = None,
    user: UserOption = None,
    item: ItemOption = None,
    request: RequestOption = None,
    action: ActionOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    by: ByOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take events out of the lake; they are kept with who, when and why, and stay out."""
    with failures():
        changes = steps.drop_events(
            context.obj,
            _filter(ids, user, item, request, action, since, until),
            by=by or getpass.getuser(),
            reason=reason,
            force=force,
            dry_run=dry_run,
        )
        show(changes, as_json)


@app.command("correct")
def correct(
    context: typer.Context,
    reason: ReasonOption,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="FIELD=VALUE, nothing after = takes it away; may be repeated."),
    ] = None,
    shift: Annotated[float, typer.Option(help="Seconds added to their times.")] = 0.0,
    ids: IdOption = None,
    user: UserOption = None,
    item: ItemOption = None,
    request: RequestOption = None,
    action: ActionOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    by: ByOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Correct fields of events; what they said is kept with who, when and why."""
    with failures():
        changes = steps.correct_events(
            context.obj,
            _filter(ids, user, item, request, action, since, until),
            _values(values or []),
            by=by or getpass.getuser(),
            reason=reason,
            shift_s=shift,
            force=force,
            dry_run=dry_run,
        )
        show(changes, as_json)


@app.command("log")
def log(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many to show.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List dropped and corrected events as they were, newest first."""
    with failures():
        corrections = steps.list_corrections(context.obj, limit=limit)
    if as_json:
        show({"corrections": corrections}, as_json)
        return
    for each in corrections:
        what = "dropped" if each["became"] is None else f"became {each['became']}"
        who = f"{each['corrected_at']:%Y-%m-%dT%H:%M:%SZ} {each['corrected_by']}"
        line(printable(f"{who} {each['event_id']}: {each['reason']}; {what}"))


def _values(given: list[str]) -> dict[str, Any]:
    """Return fields and values as they were written, numbers as numbers.

    >>> _values(["position=3", "request_id=", "action=skip"])
    {'position': 3.0, 'request_id': None, 'action': 'skip'}
    """
    values: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise ValueError(f"--set must have the form FIELD=VALUE, got {each!r}")
        is_number = name in ("value", "position")
        values[name] = (float(value) if is_number else value) if value else None
    return values
