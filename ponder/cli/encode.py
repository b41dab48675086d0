"""`ponder encode`: vectors of a file or of standard input, without a lake.

In: one JSON object a line, with `text`, `image`, `video` and `audio` (a path or a `data:` URI), or
the fields of an item (`title`, `text`, `category`, `tags`, `image_uri`, `image_uris`, `video_uri`,
`audio_uri`), and an `id` or `item_id`. Out: one row a line, in the order in which they are done, or
a Parquet file. A line that cannot be encoded becomes a row with an `error`.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from ponder.cli.terminal import bar, failures
from ponder.wiring.encoder import open_encoder


def encode(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(help="JSON Lines file; - reads standard input.", allow_dash=True)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; .parquet makes Parquet [default: standard output]"),
    ] = None,
    side: Annotated[
        Literal["item", "query"], typer.Option(help="What the lines are: items or queries.")
    ] = "item",
    policy: Annotated[
        Literal["auto", "always", "never"] | None,
        typer.Option(help="Whether to reason [default: $PONDER_POLICY or auto]"),
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Keep so many dimensions.", min=1)] = None,
) -> None:
    """Encode a file or standard input to vectors, without a lake."""
    from ponder.steps.encode import encoded_rows, read_lines, write_rows

    with failures():
        settings = context.obj if policy is None else context.obj.replace(policy=policy)
        encoder = open_encoder(settings)
        if dim is not None and dim > encoder.dim:
            raise ValueError(f"dim must be at most {encoder.dim}, got {dim}")
        stream = encoder.stream_items if side == "item" else encoder.stream_queries
        is_input = source == Path("-")
        opened = nullcontext(sys.stdin) if is_input else source.open(encoding="utf-8")
        with opened as file, bar("encode") as progress:
            folder = Path() if is_input else source.parent
            rows = encoded_rows(
                read_lines(file, folder=folder), stream, version=encoder.version, dim=dim
            )
            errors = write_rows(rows, out, progress=progress)
        if errors:
            raise ValueError(
                f"lines that could not be encoded: {errors}; their rows hold the error"
            )
