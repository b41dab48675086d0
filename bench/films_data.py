"""The films of `movielens_posters`, as the pipeline embeds them, and who rated them when.

Shape legend: N = films
"""

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from catalog.ingest.movielens import MovieLensSource
from catalog.lake.tables import EVENTS
from embedder.content import Content
from embedder.prompting.template import item_text

TRUSTED_SOURCE = "noumanshahid"
"""Of most posters. The others fill in for rarely rated films, so a poster's look may tell how
often a film is rated; the data set's README asks to report on these alone as well."""


@dataclass(frozen=True, slots=True)
class Films:
    """The catalogue and its log."""

    item_ids: list[str]
    """Ascending as strings, so that the order of rows is the order of ids."""

    titles: list[str]
    contents: list[Content]
    """Title, genres, tagline, plot and keywords as far as known, and the poster where there is."""

    events: pl.DataFrame
    """Ratings, in columns of `catalog.lake.tables.EVENTS`."""

    candidates: dict[str, np.ndarray]
    """[N] by name, which films may be recommended: `all`, `poster`, or `trusted` posters."""

    @property
    def row_of(self) -> dict[str, int]:
        """The row of each id."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def ids(self, candidates: str) -> pl.Series:
        """Return the ids of the films that may be recommended."""
        return pl.Series(self.item_ids).filter(pl.Series(self.candidates[candidates]))


def read_films(folder: Path) -> Films:
    """Return the data set in a folder."""
    source = MovieLensSource(folder)
    films = sorted((record.value for record in source.items()), key=lambda film: film["item_id"])
    item_ids = [film["item_id"] for film in films]
    images = pl.read_parquet(folder / "images.parquet", columns=["item_id", "source"])
    trusted = images.filter(pl.col("source") == TRUSTED_SOURCE)["item_id"].cast(pl.String)
    has_poster_N = np.array([film["image_uri"] is not None for film in films])
    columns = ("user_id", "item_id", "action", "value", "ts")
    return Films(
        item_ids=item_ids,
        titles=[film["title"] for film in films],
        contents=[
            Content(
                item_text(film["title"], film["text"], film["category"], film["tags"]),
                _image(film["image_uri"]),
            )
            for film in films
        ],
        events=pl.DataFrame(
            [{name: record.value[name] for name in columns} for record in source.events()],
            schema={name: EVENTS.columns[name] for name in columns},
        ),
        candidates={
            "all": np.ones(len(films), dtype=bool),
            "poster": has_poster_N,
            "trusted": np.isin(item_ids, trusted.to_list()),
        },
    )


def _image(uri: str | None) -> bytes | None:
    return None if uri is None else base64.b64decode(uri.partition(",")[2])
