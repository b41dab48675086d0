"""Drop or correct events of a deployment, and list what was."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from catalog.lake.tables import EVENT_CORRECTIONS
from ponder.settings import Settings
from ponder.wiring.stores import open_lake

if TYPE_CHECKING:
    from catalog.lake.event_corrections import EventChanges, EventFilter

MAX_SHARE = 0.1
"""Of all events, the largest share that may change at once, unless it is forced."""


def drop_events(
    settings: Settings,
    meant: "EventFilter",
    *,
    by: str,
    reason: str,
    force: bool = False,
    dry_run: bool = False,
) -> "EventChanges":
    """Drop the events that are meant; `event_corrections` keeps them.

    Args:
        settings: the deployment.
        meant: which events.
        by: who drops them.
        reason: why.
        force: also when more than `MAX_SHARE` of all events go.
        dry_run: changes nothing.
    """
    from catalog.lake import event_corrections as corrections

    return corrections.drop_events(
        open_lake(settings),
        meant,
        corrections.Note(by=by, reason=reason, at=datetime.now(UTC)),
        max_share=1.0 if force else MAX_SHARE,
        dry_run=dry_run,
    )


def correct_events(
    settings: Settings,
    meant: "EventFilter",
    values: Mapping[str, Any],
    *,
    by: str,
    reason: str,
    shift_s: float = 0.0,
    force: bool = False,
    dry_run: bool = False,
) -> "EventChanges":
    """Correct the events that are meant; `event_corrections` keeps what they said.

    Args:
        settings: the deployment.
        meant: which events.
        values: by field; None takes an optional one away.
        by: who corrects them.
        reason: why.
        shift_s: seconds added to their times.
        force: also when more than `MAX_SHARE` of all events change.
        dry_run: changes nothing.
    """
    from catalog.lake import event_corrections as corrections

    return corrections.correct_events(
        open_lake(settings),
        meant,
        values,
        corrections.Note(by=by, reason=reason, at=datetime.now(UTC)),
        shift=timedelta(seconds=shift_s),
        max_share=1.0 if force else MAX_SHARE,
        dry_run=dry_run,
    )


def list_corrections(settings: Settings, *, limit: int) -> list[dict[str, Any]]:
    """Return the newest corrections, in the columns of `event_corrections`, newest first."""
    by, descending = ["corrected_at", "event_id"], [True, False]
    corrections = open_lake(settings).scan(EVENT_CORRECTIONS).sort(by, descending=descending)
    return corrections.head(limit).collect().to_dicts()
