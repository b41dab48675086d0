"""What the service says of the deployment's state: versions, freshness and drift."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class VersionState(BaseModel):
    """One model version and what it has embedded."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: str
    """Id of the model version."""

    is_live: bool
    """Whether queries are answered from it."""

    is_previous: bool
    """Whether a rollback leads to it."""

    state: str | None
    """How far its index has come: `embedding`, `filling`, `filled`, `validated`, `refused` or
    `retired`; null when it has none."""

    live_at: datetime | None
    """When it last went live; null when it never did."""

    validated_at: datetime | None
    """When its index was last validated; null when it never was."""

    validation: dict[str, Any]
    """What that measured, by name; empty before the first."""

    problems: list[str]
    """What that found against it, in words: of the live version an alarm."""

    num_items: int
    """Items whose present content it has embedded."""

    num_waiting: int
    """Items whose present content it has not embedded; they keep an earlier vector if they have
    one."""

    reasoned_share: float | None
    """Share of what it embedded that its gate sent to reason, in [0, 1]; null when it embedded
    nothing."""

    mean_gate_probability: float | None
    """Mean probability of reasoning, in [0, 1]; null when it embedded nothing."""

    num_recent: int
    """Those of its items that changed in the seven days up to the newest one."""

    recent_gate_probability: float | None
    """The mean over these; far from the mean over all, the catalogue drifts. null when there are
    none."""


class TableState(BaseModel):
    """One table of the lake."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Name of the table."""

    num_rows: int
    """Rows now, tombstones among them."""

    changed_at: datetime | None
    """When rows were last written or deleted; null before the first."""


class StateReply(BaseModel):
    """The deployment as it is now."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    live: str | None
    """The version that answers; null while none does."""

    num_items: int
    """Items that are not deleted."""

    newest_item_at: datetime | None
    """The latest `updated_at` of an item."""

    newest_event_at: datetime | None
    """The latest `ts` of an event."""

    versions: list[VersionState]
    """The live one first, then the previous one, then by name."""

    tables: list[TableState]
    """In order of the pipeline."""

    read_at: datetime
    """When this was read; a reply may be some seconds old."""
