"""MovieLens as records: films with what is known of them, ratings as events.

Two forms are read. The classic one of GroupLens has movies.csv and ratings.csv. The Parquet one has
items.parquet (titles, genres, plots, credits), interactions.parquet and, if there are posters,
images.parquet. Tags that users gave are left out: they are words of the very users to predict.

MovieLens does not say when a film was added or edited, so it is a snapshot. A film counts as
created on the first day of the year of its release; one without a year when the ratings begin. Not
with its first rating, which may be the very event that a ranker is to predict: the age of the right
film would then be 0 and give it away.

One odd row changes nothing for the others: it becomes a dead letter with its line and the reason.
"""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from catalog.images.image import data_uri
from catalog.ingest.parquet_rows import parquet_rows
from catalog.ingest.ratings import classic_ratings, in_order, iter_odd, parquet_ratings
from catalog.records import RawRecord
from catalog.text_lines import text_lines

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_GENRES = "(no genres listed)"
_YEAR = re.compile(r"\((\d{4})\)\s*$")
_ID = re.compile(r"(\d+)(\.0+)?", re.ASCII)

_CREDITS = {
    "director_omdb": "director",
    "actors_omdb": "actors",
    "country_omdb": "country",
    "language_omdb": "language",
    "runtime_min": "runtime_min",
}


@dataclass(slots=True)
class _Film:
    """A row of the films' file."""

    offset: int
    """The line or row of the file, from 0."""

    item_id: str

    fields: dict[str, Any]
    """Title, genres, year and what else is known."""

    line: bytes | None = None
    """As it came, of a file of lines."""

    defect: str | None = None


@dataclass(frozen=True, slots=True)
class MovieLensSource:
    """The films and ratings of a MovieLens folder."""

    base_dir: Path

    is_snapshot: ClassVar[bool] = True

    def items(self) -> Iterator[RawRecord]:
        """Yield one record per film, by its id, with the poster inline."""
        begin = _begin(_ratings(self.base_dir))
        posters = _posters(self.base_dir)
        topic = "movies.csv" if _is_classic(self.base_dir) else "items.parquet"
        for film in sorted(_films(self.base_dir), key=_by_number):
            poster = posters.get(film.item_id)
            yield RawRecord(
                topic=topic,
                partition=0,
                offset=film.offset,
                value=_value(film, poster, begin=begin),
                key=film.item_id.encode() or None,
                defect=film.defect,
            )

    def events(self) -> Iterator[RawRecord]:
        """Yield one record of action "rating" per rating, by time; `value` is the stars."""
        topic = "ratings.csv" if _is_classic(self.base_dir) else "interactions.parquet"
        ratings = _ratings(self.base_dir)
        for offset, line, defect in iter_odd(ratings):
            yield RawRecord(topic, 0, offset, line.encode(), defect=defect)
        columns = ("offset", "user_id", "item_id", "rating", "timestamp")
        good = in_order(ratings.filter(pl.col("defect").is_null())).select(columns)
        for offset, user, item, rating, second in good.iter_rows():
            event = {
                "event_id": f"ml-{user}-{item}-{second}",
                "user_id": user,
                "item_id": item,
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


def _by_number(film: _Film) -> tuple[bool, int, str]:
    is_number = film.item_id.isdecimal()
    return not is_number, int(film.item_id) if is_number else 0, film.item_id


def _films(folder: Path) -> list[_Film]:
    if _is_classic(folder):
        return _classic_films(folder / "movies.csv")
    with _whole(folder / "items.parquet") as file:
        return [
            _checked(_Film(offset, _id_text(fields.get("item_id")), fields))
            for offset, fields in parquet_rows(file)
        ]


def _classic_films(file: Path) -> list[_Film]:
    lines = text_lines(file)
    _, head = next(lines, (0, b""))
    names = next(csv.reader([head.decode(errors="replace")]), [])
    if missing := [name for name in ("movieId", "title", "genres") if name not in names]:
        raise ValueError(f"{file.name} must have a column {missing[0]!r}, got {names}")
    return [_classic_film(number, line, names) for number, line in lines]


def _classic_film(number: int, line: bytes, names: list[str]) -> _Film:
    """Read one line by itself: a quote that is never closed must not swallow those after it."""
    try:
        fields = next(csv.reader([line.decode()]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        return _Film(number, "", {}, line, f"a row must be CSV in UTF-8: {error}")
    item_id = fields[names.index("movieId")] if len(fields) > names.index("movieId") else ""
    item_id = _id_text(item_id.strip())
    if len(fields) != len(names):
        defect = f"a row must have {len(names)} fields, got {len(fields)}"
        return _Film(number, item_id, {}, line, defect)
    film: dict[str, Any] = dict(zip(names, fields, strict=True))
    year = _YEAR.search(film["title"])
    genres = [each for each in film["genres"].split("|") if each and each != _NO_GENRES]
    known = {"title": film["title"] or None, "genres": genres, "year": year and int(year[1])}
    return _checked(_Film(number, item_id, known, line))


def _checked(film: _Film) -> _Film:
    if not _ID.fullmatch(film.item_id):
        film.defect = f"a film's id must be a whole number, got {film.item_id!r}"
    return film


def _id_text(value: Any) -> str:
    """Return an id as text: 7.0 is 7, 001 stays 001, and none is empty."""
    text = "" if value is None else str(value)
    whole = _ID.fullmatch(text)
    return whole[1] if whole else text


def _ratings(folder: Path) -> pl.DataFrame:
    if _is_classic(folder):
        return classic_ratings(folder / "ratings.csv")
    with _whole(folder / "interactions.parquet") as file:
        return parquet_ratings(file)


def _begin(ratings: pl.DataFrame) -> datetime:
    first = ratings.filter(pl.col("defect").is_null())["timestamp"].min()
    return datetime.fromtimestamp(first, UTC) if isinstance(first, int) else _EPOCH


def _posters(folder: Path) -> dict[str, bytes]:
    if _is_classic(folder) or not (folder / "images.parquet").is_file():
        return {}
    with _whole(folder / "images.parquet") as file:
        rows = [row for _, row in parquet_rows(file)]
    return {_id_text(row.get("item_id")): row["image"] for row in rows if "image" in row}


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """Name a file that is not a whole one: without it a snapshot would say that things are gone."""
    import pyarrow as pa

    try:
        yield file
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{file.name} must be a whole Parquet file, got: {error}") from error


def _value(film: _Film, poster: bytes | None, *, begin: datetime) -> bytes | dict[str, Any]:
    if film.defect is None:
        return _film_record(film, poster, begin=begin)
    return film.fields if film.line is None else film.line


def _film_record(film: _Film, poster: bytes | None, *, begin: datetime) -> dict[str, Any]:
    fields = film.fields
    genres = [each for each in fields.get("genres") or () if each is not None]
    words = [fields[name] for name in ("tagline_tmdb", "plot") if fields.get(name)]
    if keywords := [each for each in fields.get("keywords_tmdb") or () if each is not None]:
        words.append(", ".join(keywords))
    attributes = {name: fields[column] for column, name in _CREDITS.items() if fields.get(column)}
    created_at = begin
    if year := _year(fields.get("year")):
        attributes["year"] = year
        created_at = datetime(year, 1, 1, tzinfo=UTC)
    return {
        "item_id": film.item_id,
        "title": fields.get("title"),
        "text": "\n".join(words) or None,
        "category": genres[0] if genres else None,
        "tags": genres,
        "attributes": attributes,
        "image_uri": None if poster is None else data_uri(poster),
        "created_at": created_at,
        "updated_at": created_at,
    }


def _year(value: Any) -> int | None:
    """Return a year that a calendar has; None for any other, such as 0000."""
    is_year = isinstance(value, int | float) and 1 <= value <= 9999 and value == int(value)
    return int(value) if is_year else None
