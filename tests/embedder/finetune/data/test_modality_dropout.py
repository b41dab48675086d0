"""Tests for embedder/finetune/data/modality_dropout.py."""

import random
from collections import Counter

import pytest

from embedder.content import Content
from embedder.finetune.data.modality_dropout import with_dropout

ALL = Content("a kite", b"image", "key", gallery=(b"other",), clip=b"clip", audio=b"sound")


def shown(content):
    return (
        *(bool(content.text), content.image is not None),
        *(content.clip is not None, content.audio is not None),
    )


def test_each_modality_is_dropped_as_often_as_said_and_for_itself():
    rng = random.Random(0)
    drawn = [shown(with_dropout(ALL, 0.25, rng)) for _ in range(8_000)]
    for number in range(4):
        kept = sum(one[number] for one in drawn) / len(drawn)
        # One of four stays where all would go, at 1 in 4^4: 0.25 - 0.25^4 / 4 are dropped.
        assert kept == pytest.approx(0.751, abs=0.015)
    both = sum(not one[0] and not one[3] for one in drawn) / len(drawn)
    assert both == pytest.approx(0.0625, abs=0.01)


def test_something_always_stays_and_each_as_often():
    rng = random.Random(1)
    left = Counter(shown(with_dropout(ALL, 1.0, rng)) for _ in range(4_000))
    assert all(sum(one) == 1 for one in left)
    assert all(count == pytest.approx(1_000, abs=120) for count in left.values())
    text = Content("a kite", key="k")
    assert with_dropout(text, 1.0, rng) is text
    assert with_dropout(Content(), 1.0, rng) == Content()


def test_images_go_together_and_what_lacks_something_is_no_longer_known_by_its_key():
    rng = random.Random(2)
    drawn = [with_dropout(ALL, 0.5, rng) for _ in range(200)]
    assert {(one.image is None, one.gallery == ()) for one in drawn} == {(True, True), (False,) * 2}
    assert all(one == ALL or one.key == "" for one in drawn)
    assert ALL in drawn


def test_nothing_is_dropped_without_a_chance():
    assert with_dropout(ALL, 0.0, random.Random(3)) is ALL
