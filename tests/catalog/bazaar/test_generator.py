"""Tests for catalog/bazaar: the world's right answers, by construction."""

import json
import random
import wave
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from catalog.bazaar import questions
from catalog.bazaar.drawing import SHELF_HEIGHT, SILHOUETTES, draw
from catalog.bazaar.generator import BazaarConfig, write_bazaar
from catalog.bazaar.jingles import INSTRUMENTS
from catalog.bazaar.shoppers import click_probability
from catalog.bazaar.world import (
    COLOUR_FACTS,
    COLOURS,
    COUNT_FACTS,
    COUNTS,
    NOUNS,
    PATTERN_FACTS,
    PATTERNS,
    Product,
    near_miss,
    random_product,
)

SMALL = BazaarConfig(num_items=60, num_users=8, num_weeks=2, requests_per_user=3, num_queries=12)


@pytest.fixture(scope="module")
def bazaar(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bazaar")
    write_bazaar(folder, SMALL)
    return folder


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_noun_has_a_silhouette_and_every_value_a_fact():
    assert set(SILHOUETTES) == set(NOUNS)
    assert set(COLOUR_FACTS) == set(COLOURS)
    assert set(COUNT_FACTS) == set(COUNTS)
    assert set(PATTERN_FACTS) == set(PATTERNS)


def test_no_two_silhouettes_look_the_same():
    masks = {}
    for noun in NOUNS:
        image = draw(Product(noun, "black", "plain", 1, "ACME"), random.Random(0))
        pixels = np.asarray(image.convert("L"))[:SHELF_HEIGHT]
        masks[noun] = (pixels < 128).tobytes()
    assert len(set(masks.values())) == len(NOUNS)


@pytest.mark.parametrize("count", COUNTS)
def test_an_image_shows_as_many_shapes_as_the_product_counts(count):
    image = draw(Product("bowl", "black", "plain", count, "ACME"), random.Random(3))
    dark = np.asarray(image.convert("L"))[: SHELF_HEIGHT - 1] < 128
    assert count_regions(dark) == count


def count_regions(dark):
    """Connected dark regions, by flood fill."""
    left = {(int(y), int(x)) for y, x in np.argwhere(dark)}
    regions = 0
    while left:
        regions += 1
        edge = [left.pop()]
        while edge:
            y, x = edge.pop()
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
    return regions


def test_a_near_miss_differs_in_exactly_one_named_value():
    rng = random.Random(5)
    for _ in range(50):
        product = random_product(rng)
        other = near_miss(product, rng)
        names = ("noun", "colour", "pattern", "count", "brand")
        differing = [n for n in names if getattr(product, n) != getattr(other, n)]
        assert len(differing) == 1
        assert differing != ["brand"]


@pytest.mark.parametrize("tier", questions.TIERS)
def test_a_question_is_answered_by_its_own_product_and_by_no_near_miss_in_what_it_asks(tier):
    rng = random.Random(2)
    for _ in range(100):
        product = random_product(rng)
        question = questions.ask(product, tier, rng)
        assert question.fits(product)
        other = near_miss(product, rng)
        changed = {n for n in question.asked if getattr(product, n) != getattr(other, n)}
        assert question.fits(other) == (not changed)


def test_only_hidden_values_are_missing_from_the_text_and_they_are_in_the_summary():
    rng = random.Random(4)
    for _ in range(100):
        product = random_product(rng)
        question = questions.ask(product, "composed", rng)
        assert product.noun in question.text
        if "colour" in question.asked:
            assert product.colour in question.summary
            hidden = "in the colour of " in question.text
            assert hidden == (f" is {product.colour}" in question.rationale)
        if "count" in question.asked:
            assert str(product.count) in question.summary


def test_arithmetic_in_rationales_is_right():
    rng = random.Random(6)
    checked = 0
    for _ in range(400):
        question = questions.ask(random_product(rng), "composed", rng)
        for fact in question.rationale.split(". "):
            words = fact.split()
            if words[0] == "twice":
                assert int(words[3]) == 2 * int(words[1])
                checked += 1
            elif words[:2] == ["one", "more"]:
                assert int(words[-1]) == int(words[3]) + 1
                checked += 1
            elif words[:2] == ["one", "less"]:
                assert int(words[-1]) == int(words[3]) - 1
                checked += 1
    assert checked > 50


def test_the_held_out_part_is_about_a_sixth_and_ignores_the_brand():
    rng = random.Random(0)
    products = [random_product(rng) for _ in range(3000)]
    share = sum(product.is_held_out for product in products) / len(products)
    assert 0.12 < share < 0.22
    mug = Product("mug", "red", "plain", 2, "ACME")
    assert mug.is_held_out == Product("mug", "red", "plain", 2, "KIWI").is_held_out


def test_the_same_seed_writes_the_same_bytes(bazaar, tmp_path):
    write_bazaar(tmp_path, SMALL)
    for file in ("items.jsonl", "events.jsonl", "queries.jsonl", "truth.jsonl", "tastes.jsonl"):
        assert (tmp_path / file).read_bytes() == (bazaar / file).read_bytes()
    images = sorted(path.name for path in (bazaar / "images").iterdir())
    assert images == sorted(path.name for path in (tmp_path / "images").iterdir())
    for name in images:
        assert (tmp_path / "images" / name).read_bytes() == (bazaar / "images" / name).read_bytes()


def test_nothing_is_shown_before_it_arrives_or_after_it_is_gone(bazaar):
    arrived = {}
    gone = {}
    for row in rows(bazaar / "items.jsonl"):
        if row.get("deleted"):
            gone[row["item_id"]] = row["updated_at"]
        else:
            arrived.setdefault(row["item_id"], row["created_at"])
    shown = [row for row in rows(bazaar / "events.jsonl") if row["action"] == "impression"]
    assert shown
    for row in shown:
        assert arrived[row["item_id"]] <= row["ts"]
        assert row["ts"] <= gone.get(row["item_id"], row["ts"])


def test_relevant_items_of_a_query_are_those_whose_truth_fits(bazaar):
    truth = {row["item_id"]: row for row in rows(bazaar / "truth.jsonl")}
    gone = {row["item_id"] for row in rows(bazaar / "items.jsonl") if row.get("deleted")}
    queries = rows(bazaar / "queries.jsonl")
    tiers = Counter(query["tier"] for query in queries)
    # Twelve queries go round the five places: two whole rounds, then literal and everyday again.
    assert tiers == {"literal": 3, "everyday": 3, "indirect": 2, "composed": 4}
    for query in queries:
        assert query["relevant"]
        assert not gone & set(query["relevant"])
        nouns = {truth[item_id]["noun"] for item_id in query["relevant"]}
        assert len(nouns) == 1
        assert nouns.pop() in query["text"]


def test_a_click_is_likelier_for_what_is_liked_and_for_what_stands_higher():
    assert click_probability(3.0, 0) == pytest.approx(0.5)
    assert click_probability(3.0, 0) > click_probability(1.0, 0)
    assert click_probability(3.0, 0) > click_probability(3.0, 5)


def test_an_empty_bazaar_is_refused():
    with pytest.raises(ValueError, match="num_items must be at least 1, got 0"):
        BazaarConfig(num_items=0)


def test_clips_come_on_top_of_a_bazaar_and_change_nothing_else(bazaar, tmp_path):
    write_bazaar(tmp_path, replace(SMALL, num_clips=24))
    for name in ("items", "queries", "truth", "events"):
        before, after = ((f / f"{name}.jsonl").read_text() for f in (bazaar, tmp_path))
        assert after.startswith(before)
    moving = {row["item_id"]: row for row in rows(tmp_path / "items.jsonl") if "video_uri" in row}
    assert len(moving) == 24
    assert all((tmp_path / row["video_uri"]).read_bytes()[:3] == b"GIF" for row in moving.values())
    truth = {row["item_id"]: row for row in rows(tmp_path / "truth.jsonl") if "motion" in row}
    asked = [row for row in rows(tmp_path / "queries.jsonl") if row["tier"] == "motion"]
    assert len(asked) == sum(row["title"] is None for row in moving.values()) == 6
    for query in asked:
        kinds = {
            tuple(truth[i][name] for name in ("colour", "noun", "motion"))
            for i in query["relevant"]
        }
        [(colour, noun, _)] = kinds
        assert query["text"].startswith(f"{colour} {noun} ")


def test_jingles_come_on_top_of_a_bazaar_and_change_nothing_else(bazaar, tmp_path):
    write_bazaar(tmp_path, replace(SMALL, num_jingles=24))
    for name in ("items", "queries", "truth", "events"):
        before, after = ((f / f"{name}.jsonl").read_text() for f in (bazaar, tmp_path))
        assert after.startswith(before)
    playing = {row["item_id"]: row for row in rows(tmp_path / "items.jsonl") if "audio_uri" in row}
    assert len(playing) == 24
    for row in playing.values():
        assert (tmp_path / row["image_uri"]).exists()
        with wave.open(str(tmp_path / row["audio_uri"])) as jingle:
            assert jingle.getnframes() == 33_600
    truth = {row["item_id"]: row for row in rows(tmp_path / "truth.jsonl") if "melody" in row}
    for item_id, row in playing.items():
        assert truth[item_id]["instrument"] == INSTRUMENTS[row["category"]]
    asked = [row for row in rows(tmp_path / "queries.jsonl") if row["tier"] == "tune"]
    assert len(asked) == sum(row["title"] is None for row in playing.values()) == 6
    for query in asked:
        kinds = {
            tuple(truth[i][name] for name in ("colour", "noun", "melody"))
            for i in query["relevant"]
        }
        [(colour, noun, melody)] = kinds
        assert query["text"].startswith(f"{colour} {noun} with a")
        assert query["text"].endswith(f" {melody} tune")
