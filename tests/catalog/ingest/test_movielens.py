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
