"""`ponder bazaar`: the synthetic world."""

from pathlib import Path
from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, show


def bazaar(
    folder: Annotated[Path, typer.Argument(help="Where to write the files.")],
    items: Annotated[int, typer.Option(help="Items ever listed.", min=1)] = 2_000,
    users: Annotated[int, typer.Option(help="Shoppers.", min=1)] = 300,
    weeks: Annotated[int, typer.Option(help="Weeks of events.", min=1)] = 4,
    queries: Annotated[int, typer.Option(help="Evaluation questions.", min=0)] = 300,
    clips: Annotated[
        int,
        typer.Option(help="Further items that show a clip, to be found by how it moves.", min=0),
    ] = 0,
    jingles: Annotated[
        int,
        typer.Option(help="Further items with a jingle, to be found by its tune.", min=0),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Decides everything.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Generate a synthetic catalogue with images, shoppers and questions."""
    from catalog.bazaar.generator import BazaarConfig, write_bazaar

    config = BazaarConfig(
        num_items=items,
        num_users=users,
        num_weeks=weeks,
        num_queries=queries,
        num_clips=clips,
        num_jingles=jingles,
        seed=seed,
    )
    with failures():
        show(write_bazaar(folder, config), as_json)
