"""MovieLens as records: films with what is known of them, ratings as events.

Two forms are read. The classic one of GroupLens has movies.csv and ratings.csv. The Parquet one has
items.parquet (titles, genres, plots, credits), interactions.parquet and, if there are posters,
images.parquet. Tags that users gave are left out: they are words of the very users to predict.

MovieLens does not say when a film was added or edited, so it is a snapshot. A film counts as
created on the first day of the year of its release; one without a year when the ratings begin. Not
with its first rating, which may be the very event that a ranker is to predict: the age of the right
film would then be 0 and give it away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from catalog.images.image import data_uri
from catalog.lake.tables import TIME
from catalog.records import RawRecord

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_GENRES = "(no genres listed)"

_RATING_TYPES = {
    "userId": pl.Int64,
    "movieId": pl.Int64,
    "rating": pl.Float64,
    "timestamp": pl.Int64,
}

_CREDITS = {
    "director_omdb": "director",
    "actors_omdb": "actors",
    "country_omdb": "country",
    "language_omdb": "language",
    "runtime_min": "runtime_min",
}


@dataclass(frozen=True, slots=True)
class MovieLensSource:
    """The films and ratings of a MovieLens folder."""

    base_dir: Path

    is_snapshot: ClassVar[bool] = True

    def items(self) -> Iterator[RawRecord]:
        """Yield one record per film, by its id, with the poster inline."""
        films = _with_created_at(_films(self.base_dir), _ratings(self.base_dir))
        posters = _posters(self.base_dir)
        topic = "movies.csv" if _is_classic(self.base_dir) else "items.parquet"
        for offset, film in enumerate(films.sort("item_id").iter_rows(named=True)):
            record = _film_record(film, posters.get(film["item_id"]))
            key = record["item_id"].encode()
            yield RawRecord(topic=topic, partition=0, offset=offset, value=record, key=key)

    def events(self) -> Iterator[RawRecord]:
        """Yield one record of action "rating" per rating, by time; `value` is the stars."""
        topic = "ratings.csv" if _is_classic(self.base_dir) else "interactions.parquet"
        ratings = _ratings(self.base_dir).sort("timestamp", "user_id", "item_id")
        for offset, (user, item, rating, second) in enumerate(ratings.iter_rows()):
            event = {
                "event_id": f"ml-{user}-{item}-{second}",
                "user_id": str(user),
                "item_id": str(item),
                "action": "rating",
                "value": rating,
                "ts": datetime.fromtimestamp(second, UTC),
            }
            yield RawRecord(topic=topic, partition=0, offset=offset, value=event)


def is_movielens(folder: Path) -> bool:
    """Return whether a folder holds MovieLens in one of its two forms."""
    parquet = (folder / "items.parquet", folder / "interactions.parquet")
    return _is_classic(folder) or all(file.is_file() for file in parquet)


def _is_classic(folder: Path) -> bool:
    return (folder / "movies.csv").is_file() and (folder / "ratings.csv").is_file()


def _films(folder: Path) -> pl.DataFrame:
    if not _is_classic(folder):
        return pl.read_parquet(folder / "items.parquet")
    genres = pl.col("genres").str.split("|").list.filter(pl.element() != _NO_GENRES)
    year = pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int32)
    movies = pl.read_csv(folder / "movies.csv", schema_overrides={"title": pl.String})
    return movies.rename({"movieId": "item_id"}).with_columns(genres=genres, year=year)


def _ratings(folder: Path) -> pl.DataFrame:
    if _is_classic(folder):
        ratings = pl.read_csv(folder / "ratings.csv", schema_overrides=_RATING_TYPES).rename(
            {"userId": "user_id", "movieId": "item_id"}
        )
    else:
        ratings = pl.read_parquet(folder / "interactions.parquet")
    return ratings.select("user_id", "item_id", "rating", "timestamp")


def _posters(folder: Path) -> dict[int, bytes]:
    file = folder / "images.parquet"
    if _is_classic(folder) or not file.is_file():
        return {}
    return dict(pl.read_parquet(file, columns=["item_id", "image"]).iter_rows())


def _with_created_at(films: pl.DataFrame, ratings: pl.DataFrame) -> pl.DataFrame:
    rated_at = pl.from_epoch("timestamp", "s").dt.replace_time_zone("UTC")
    begin = ratings.select(rated_at.min()).item() or _EPOCH
    release = pl.datetime("year", 1, 1, time_zone="UTC")
    return films.with_columns(created_at=pl.coalesce(release, pl.lit(begin)).cast(TIME))


def _film_record(film: dict[str, Any], poster: bytes | None) -> dict[str, Any]:
    genres = film["genres"] or []
    words = [film[name] for name in ("tagline_tmdb", "plot") if film.get(name)]
    if film.get("keywords_tmdb"):
        words.append(", ".join(film["keywords_tmdb"]))
    attributes = {name: film[column] for column, name in _CREDITS.items() if film.get(column)}
    if film["year"]:
        attributes["year"] = film["year"]
    return {
        "item_id": str(film["item_id"]),
        "title": film["title"],
        "text": "\n".join(words) or None,
        "category": genres[0] if genres else None,
        "tags": genres,
        "attributes": attributes,
        "image_uri": None if poster is None else data_uri(poster),
        "created_at": film["created_at"],
        "updated_at": film["created_at"],
    }
