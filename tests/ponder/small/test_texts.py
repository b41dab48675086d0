"""Tests for ponder/small's texts: glosses, passages, stories, titles, and their names."""

import random

import pytest

from ponder.small.names import invented, known_names
from ponder.small.stories import ENDINGS, MIDDLES, NAMES, OPENINGS, retold, story_cast
from ponder.small.texts import BLOCK, KINDS, TextSource, text_pairs
from ponder.small.titles import product, titled
from tests.ponder.small.conftest import VOCABULARY


@pytest.fixture(scope="module")
def source(wordnet):
    return TextSource(wordnet, VOCABULARY)


def test_names_are_words_that_are_no_kind_nor_an_inflection_of_one(wordnet):
    assert known_names(VOCABULARY, wordnet) == ["mirela", "paris", "tokar", "velda"]


def test_invented_names_are_words_of_letters():
    rng = random.Random(0)
    names = [invented(rng) for _ in range(200)]
    assert all(name.isalpha() and name == name.capitalize() for name in names)
    assert len(set(names)) > 190


def test_pairs_depend_on_the_seed_alone_and_a_shorter_run_is_the_beginning(source):
    pairs = list(text_pairs(source, 80, seed=1))
    assert len(pairs) == 80
    assert list(text_pairs(source, 40, seed=1)) == pairs[:40]
    assert list(text_pairs(source, 80, seed=2)) != pairs
    assert {pair.kind for pair in pairs} == set(KINDS)
    assert all(pair.first and pair.second for pair in pairs)


def test_blocks_are_of_one_kind(source):
    kinds = [pair.kind for pair in text_pairs(source, 80, seed=3)]
    assert all(len(set(kinds[n : n + BLOCK])) == 1 for n in range(0, 80, BLOCK))


def test_two_tellings_share_the_name_and_no_sentence(source, wordnet):
    rng = random.Random(5)
    for _ in range(50):
        cast = story_cast(source.noun, source.name, rng)
        first, second = retold(cast, wordnet, rng)
        assert cast.names["name"] in first
        assert cast.names["name"] in second
        forms = [form for form in (*OPENINGS, *MIDDLES, *ENDINGS) if form]
        for form in forms:
            longest = max((part.split("{")[0] for part in form.split("}")), key=len)
            assert not (longest in first and longest in second) or len(longest) < 12


def test_a_story_is_told_again_about_others(source):
    rng = random.Random(5)
    cast = story_cast(source.noun, source.name, rng)
    other = cast.renamed(source.name, rng)
    assert other.things == cast.things
    assert other.names.keys() == cast.names.keys() == set(NAMES)
    assert other.names != cast.names


def test_both_titles_of_a_product_have_its_noun_and_mostly_its_colour(source):
    rng = random.Random(1)
    for _ in range(50):
        one = product(source.noun, source.name, rng)
        first, second = titled(one, rng)
        assert first != second
        for title in (first, second):
            assert any(word in title for word in one.noun.words)
            assert one.colour in title
        assert one.varied(rng).colour != one.colour
