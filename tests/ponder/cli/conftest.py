"""The command line on a deployment of its own, and a lake with two dead letters."""

from datetime import UTC, datetime

import polars as pl
import pytest
from typer.testing import CliRunner

from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS
from ponder.cli.app import app

FAILED = datetime(2026, 1, 2, tzinfo=UTC)
GOOD = b'{"item_id": "a", "updated_at": "2026-01-01T00:00:00Z"}'
HOSTILE = b'{"title": "\x1b[2J\xff\xe2\x80\xae'


@pytest.fixture
def ponder(settings):
    def invoke(*arguments, **options):
        return CliRunner().invoke(app, ["--home", str(settings.home), *arguments], **options)

    return invoke


@pytest.fixture
def lake(settings):
    """Two letters: one that would land by now, a newer one that never will."""
    lake = Lake(settings.lake_uri)
    rows = [
        ("items", 0, 7, "validate", "was wrong", b"a", GOOD, FAILED, None),
        ("items", 1, 8, "decode", "not JSON: \x1b[31m", None, HOSTILE, FAILED.replace(day=5), None),
    ]
    lake.put_dead_letters(pl.DataFrame(rows, schema=DEAD_LETTERS.schema, orient="row"))
    return lake
