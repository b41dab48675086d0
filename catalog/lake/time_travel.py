"""How far back a table of the lake can be read as it was."""

from datetime import UTC, datetime

from deltalake import DeltaTable

HISTORY_HOURS = 30 * 24
"""What a table remembers, unless a vacuum is told to keep more or less."""


def history_properties(hours: int) -> dict[str, str]:
    """Return the properties that keep a table readable as it was up to so many hours ago.

    By Delta's own defaults the log remembers for 30 days, but for 7 only which files were removed
    when; a vacuum that keeps more than 7 days would then take older ones for litter. The log gets
    a week more, so that it still holds the commit that was the last one so many hours ago.
    """
    return {
        "delta.logRetentionDuration": f"interval {hours + 7 * 24} hours",
        "delta.deletedFileRetentionDuration": f"interval {hours} hours",
    }


def rewind(delta: DeltaTable, as_of: datetime) -> None:
    """Turn an open table into what it was at a moment; empty before its first commit.

    Raises:
        ValueError: the log no longer reaches back so far, or `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of must carry a time zone, got {as_of.isoformat()}")
    # Asked before: a table that is not at its last version numbers its commits wrongly.
    commits = {commit["version"]: commit["timestamp"] for commit in delta.history()}
    delta.load_as_version(as_of)  # the earliest version that is left, when all are later
    committed_at = datetime.fromtimestamp(commits[delta.version()] / 1000, UTC)
    is_empty_beginning = delta.version() == 0 and not delta.file_uris()
    if committed_at > as_of and not is_empty_beginning:
        raise ValueError(
            "as_of must lie within the history of the table, which begins at "
            f"{committed_at.isoformat()}, got {as_of.isoformat()}"
        )
