"""`ponder nano`: make the model that ships with the project again."""

from pathlib import Path
from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, show


def nano(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of everything that is made.")],
    start: Annotated[
        str,
        typer.Option(help="nano-base, another version that knows words and facts, or scratch."),
    ] = "nano-base",
    seed: Annotated[int, typer.Option(help="Of the fine-tune and its riddles.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make nano again, as it ships: riddles, selected rationales, joint training, gate.

    Half an hour on two cores from nano-base, some hours from scratch; killed, it goes on.
    """
    from ponder.nano.making import NanoConfig, make_nano

    config = NanoConfig(start=start, seed=seed)
    with failures(), bar("nano") as progress:
        made = make_nano(context.obj, out, config, progress=progress)
    show({"version": str(made)}, as_json)
