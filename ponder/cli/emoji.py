"""`ponder emoji`: a public catalogue of real words and images."""

from pathlib import Path
from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, show

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
ANNOTATIONS = Path("/usr/share/unicode/cldr/common/annotations/en.xml")


def emoji(
    folder: Annotated[Path, typer.Argument(help="Where to write the files.")],
    font: Annotated[
        Path, typer.Option(help="Noto Color Emoji; of Debian's fonts-noto-color-emoji.")
    ] = FONT,
    annotations: Annotated[
        Path, typer.Option(help="CLDR's keywords; of Debian's unicode-cldr-core.")
    ] = ANNOTATIONS,
    queries: Annotated[int, typer.Option(help="Keywords that are asked.", min=0)] = 600,
    as_json: JsonOption = False,
) -> None:
    """Write a font's emoji as a catalogue, and what people call them as questions about it."""
    from catalog.emoji.folder import write_emoji
    from catalog.emoji.keywords import read_keywords

    with failures():
        words = read_keywords(annotations)
        show(write_emoji(folder, font, words, num_queries=queries), as_json)
