"""Whether the lake can be read, and whether its clock and this machine's agree."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from catalog.lake.index_versions import IndexVersions
from catalog.lake.maintenance import history
from catalog.lake.tables import TABLES
from ponder.doctor.problem import Problem, said
from ponder.settings import Settings
from ponder.wiring.stores import open_lake

MAX_AHEAD = timedelta(minutes=2)
"""A commit later than now by more was made by a clock that is wrong: that one, or this one."""


def check_lake(settings: Settings) -> Iterator[Problem]:
    """Yield tables that cannot be opened, and a lake that has no live version."""
    lake = open_lake(settings)
    for table in TABLES.values():
        try:
            lake.scan(table).head(1).collect()
        except Exception as error:  # of deltalake, of Polars, of whatever store it is
            yield Problem(
                check="lake",
                what=f"table {table.name!r} at {lake.uri} must be readable, got {said(error)}",
                remedy="see that PONDER_LAKE and PONDER_LAKE_OPTIONS name the store and its keys; "
                "bring a damaged table back from a backup",
            )
            return
    if IndexVersions(lake).live() is None:
        yield Problem(
            check="lake",
            what="no version is live, so no query is answered",
            remedy="run the DAG nightly, or `ponder run --data FOLDER`",
            is_fault=False,
        )


def check_clock(
    settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[Problem]:
    """Yield commits of the future: of two updates the later wins, so a wrong clock loses data.

    Args:
        settings: the deployment.
        now: this machine's time.
    """
    lake = open_lake(settings)
    newest = {
        table.name: commits[0].at
        for table in TABLES.values()
        if (commits := history(lake, table, limit=1))
    }
    if not newest:
        return
    name, at = max(newest.items(), key=lambda each: each[1])
    if (ahead := at - now()) > MAX_AHEAD:
        yield Problem(
            check="clock",
            what=f"no commit may be of the future, but one of {name!r} is {ahead} ahead of this "
            "machine's clock",
            remedy="set this machine's clock by NTP, and see who wrote it: "
            f"`ponder lake history {name}`",
        )
