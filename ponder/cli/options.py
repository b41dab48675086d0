"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DataOption = Annotated[
    Path,
    typer.Option("--data", help="Folder of JSON Lines, Parquet or MovieLens files."),
]
SnapshotOption = Annotated[
    bool,
    typer.Option(
        "--snapshot",
        help="The folder holds the whole catalogue: delete the items that it lacks. "
        "Always so for MovieLens.",
    ),
]
MaxDeleteOption = Annotated[
    float,
    typer.Option(
        help="Refuse a snapshot that would delete a larger share of the items.", min=0, max=1
    ),
]
