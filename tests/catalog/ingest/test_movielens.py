"""Tests for catalog/ingest/movielens.py on three films, in both forms, worked out by hand."""

from datetime import UTC, datetime

import polars as pl
import pytest

from catalog.images.image import data_uri
from catalog.ingest.movielens import MovieLensSource, is_movielens
from catalog.record_parsing import parse_event, parse_item

MOVIES = """movieId,title,genres
2,"American President, The (1995)",Comedy|Romance
1,Rated (1930),(no genres listed)
3,No Year,Drama
"""
RATINGS = """userId,movieId,rating,timestamp
7,1,4.5,1000000200
5,1,0.5,1000000100
"""


@pytest.fixture
def classic(tmp_path):
    (tmp_path / "movies.csv").write_text(MOVIES)
    (tmp_path / "ratings.csv").write_text(RATINGS)
    return MovieLensSource(tmp_path)


@pytest.fixture
def parquet(tmp_path, image):
    films = {
        "item_id": [1, 2],
        "title": ["Heat (1995)", "Bare"],
        "year": [1995, None],
        "genres": [["Crime", "Action"], []],
        "plot": ["A thief.", None],
        "tagline_tmdb": ["A Los Angeles crime saga", None],
        "keywords_tmdb": [["heist", "police"], None],
        "director_omdb": ["Michael Mann", None],
        "runtime_min": [170, None],
    }
    pl.DataFrame(films).write_parquet(tmp_path / "items.parquet")
    ratings = {"user_id": [1], "item_id": [1], "rating": [3.5], "timestamp": [1000000000]}
    pl.DataFrame(ratings).write_parquet(tmp_path / "interactions.parquet")
    posters = {"item_id": [1], "image": [image]}
    pl.DataFrame(posters).write_parquet(tmp_path / "images.parquet")
    return MovieLensSource(tmp_path)


def test_a_film_counts_as_created_with_its_release_else_when_ratings_begin(classic):
    created = {item.item_id: item.created_at for item in map(parse_item, classic.items())}
    assert created == {
        "1": datetime(1930, 1, 1, tzinfo=UTC),
        "2": datetime(1995, 1, 1, tzinfo=UTC),
        "3": datetime.fromtimestamp(1000000100, UTC),
    }


def test_a_films_age_does_not_tell_when_it_was_rated(classic):
    """A ranker would learn that the film of age 0 is the one the user is about to rate."""
    rated = {event.item_id: event.ts for event in map(parse_event, classic.events())}
    for item in map(parse_item, classic.items()):
        year_is_known = "year" in item.attributes
        assert not (year_is_known and item.created_at == rated.get(item.item_id))


def test_title_year_and_genres_come_from_the_classic_files(classic):
    rated, president, no_year = map(parse_item, classic.items())
    assert president.title == "American President, The (1995)"
    assert (president.category, president.tags) == ("Comedy", ["Comedy", "Romance"])
    assert (president.attributes, no_year.attributes) == ({"year": 1995}, {})
    assert (rated.category, rated.tags) == (None, [])


def test_a_rating_is_an_event_in_order_of_time(classic):
    early, late = map(parse_event, classic.events())
    assert (early.event_id, late.event_id) == ("ml-5-1-1000000100", "ml-7-1-1000000200")
    assert (early.user_id, early.item_id, early.action, early.value) == ("5", "1", "rating", 0.5)
    assert late.ts == datetime.fromtimestamp(1000000200, UTC)
    assert late.request_id is None


def test_plot_credits_and_poster_come_from_the_parquet_files(parquet, image):
    heat, bare = map(parse_item, parquet.items())
    assert heat.text == "A Los Angeles crime saga\nA thief.\nheist, police"
    assert heat.attributes == {"year": 1995, "director": "Michael Mann", "runtime_min": 170}
    assert heat.image_uri == data_uri(image)
    assert (bare.text, bare.category, bare.attributes, bare.image_uri) == (None, None, {}, None)


def test_films_that_nobody_rated_are_still_records(classic):
    classic.base_dir.joinpath("ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    items = [parse_item(record) for record in classic.items()]
    assert [item.created_at.year for item in items] == [1930, 1995, 1970]
    assert list(classic.events()) == []


def test_both_forms_are_recognised(classic, tmp_path):
    assert is_movielens(tmp_path)
    (tmp_path / "ratings.csv").unlink()
    assert not is_movielens(tmp_path)


def defects(records):
    return {record.value: record.defect for record in records if record.defect}


@pytest.mark.parametrize(
    ("row", "defect"),
    [
        ("8,1,4.0,1000000200000", "timestamp must be whole seconds since 1970, before the year"),
        ("8,1,4.0,", "timestamp must be"),
        ("8,1,4.0,1000000200.5", "timestamp must be"),
        ("8,1,4.0,2001-09-09 01:46:40", "timestamp must be"),
        ("u8,1,4.0,1000000200", "user_id must be a whole number, got 'u8'"),
        (",1,4.0,1000000200", "user_id must be a whole number, got ''"),
        ("8,tt1,4.0,1000000200", "item_id must be a whole number, got 'tt1'"),
        ("8,1,,1000000200", "rating must be a number"),
        ("8,1,nan,1000000200", "rating must be a number"),
        ("8,1,4,5,1000000200", "a row must have as many fields"),
        ("8,1,4.0", "a row must have as many fields"),
        ('8,"1,4.0,1000000200', "item_id must be a whole number"),
    ],
)
def test_an_odd_rating_is_refused_with_its_line_and_changes_no_other(classic, row, defect):
    before = [parse_event(record) for record in classic.events()]
    file = classic.base_dir / "ratings.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, rows[0], row, *rows[1:]]))
    records = list(classic.events())
    assert [parse_event(record) for record in records if not record.defect] == before
    [(line, reason)] = defects(records).items()
    assert line == row.encode()
    assert reason.startswith(defect)


def test_ids_stay_as_they_are_written_and_whole_floats_are_whole(classic):
    rows = ("007,001,4.0,1000000300", '"7","1",4,1000000300.0', "7.0,1.00,4.0,1000000400")
    (classic.base_dir / "ratings.csv").write_bytes(
        b"\xef\xbb\xbfuserId,movieId,rating,timestamp\r\n" + "\r\n".join(rows).encode()
    )
    events = sorted(parse_event(record).event_id for record in classic.events())
    assert events == ["ml-007-001-1000000300", "ml-7-1-1000000300", "ml-7-1-1000000400"]


@pytest.mark.parametrize(
    ("row", "defect", "names"),
    [
        (b"tt4,Letters (1999),Drama", "a film's id must be a whole number", b"tt4"),
        (b",Nobody (1999),Drama", "a film's id must be a whole number", None),
        (b"4,Too, Many (1999),Drama", "a row must have 3 fields, got 4", b"4"),
        (b'4,"Open (1999),Drama', "a row must have 3 fields, got 2", b"4"),
        (b"4,Am\xe9lie (2001),Comedy", "a row must be CSV in UTF-8", None),
    ],
)
def test_an_odd_film_is_refused_with_its_line_and_changes_no_other(classic, row, defect, names):
    before = [parse_item(record) for record in classic.items()]
    file = classic.base_dir / "movies.csv"
    head, *rows = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([head, rows[0], row, *rows[1:]]))
    records = list(classic.items())
    assert [parse_item(record) for record in records if not record.defect] == before
    [odd] = (record for record in records if record.defect)
    assert (odd.value, odd.key, odd.offset) == (row, names, 2)
    assert odd.defect.startswith(defect)


def test_a_year_that_no_calendar_has_counts_as_none(classic):
    (classic.base_dir / "movies.csv").write_text("movieId,title,genres\n4,Old (0000),Drama\n")
    [film] = map(parse_item, classic.items())
    assert (film.title, film.attributes) == ("Old (0000)", {})
    assert film.created_at == datetime.fromtimestamp(1000000100, UTC)


def test_a_file_without_its_columns_or_broken_is_refused_by_its_name(classic, tmp_path):
    (tmp_path / "ratings.csv").write_text("1,1,4.0,1000000000\n")
    with pytest.raises(ValueError, match=r"ratings.csv must have a column 'userId'"):
        list(classic.events())
    other = tmp_path / "parquet"
    other.mkdir()
    pl.DataFrame({"item_id": [1]}).write_parquet(other / "items.parquet")
    (other / "interactions.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"interactions.parquet must be a whole Parquet file"):
        list(MovieLensSource(other).items())


def test_odd_rows_of_the_parquet_form_are_refused_one_by_one(parquet):
    ratings = {
        "user_id": [1.0, 2.0, None],
        "item_id": [1, 1, 1],
        "rating": [3.5, float("nan"), 4.0],
        "timestamp": [1000000000, 1000000001, 1000000002],
    }
    pl.DataFrame(ratings).write_parquet(parquet.base_dir / "interactions.parquet")
    records = list(parquet.events())
    good = [parse_event(record) for record in records if not record.defect]
    assert [(event.event_id, event.value) for event in good] == [("ml-1-1-1000000000", 3.5)]
    assert [reason.split(" must")[0] for reason in defects(records).values()] == [
        "rating",
        "user_id",
    ]
