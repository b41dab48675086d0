"""Tests for leaks.py: what a rationale may know, and what it may not."""

import pytest

from embedder.finetune.rationales.leaks import leaks

TARGET = "Set of three RED striped mugs by Acme\nkitchen\nships tomorrow, ideal as a gift"
OWN = "mugs in the colour of a fire engine"


@pytest.mark.parametrize(
    ("told", "is_leak"),
    [
        ("a fire engine is red. 3 red mugs", False),
        ("three red striped mugs", False),  # four words that anyone could infer
        ("it says: set of Three red-striped ones", True),  # five words in their order
        ("striped mugs by acme kitchen", False),  # no line holds all five
        ("of three red striped mugs", True),
        ("ships tomorrow ideal as a long journey", True),
        ("tomorrow, ideal as a gift", True),  # the last run of the last line
        ("", False),
    ],
)
def test_five_words_of_the_partner_in_their_order_are_a_leak(told, is_leak):
    assert leaks(told, TARGET, own=OWN) is is_leak


@pytest.mark.parametrize(
    ("told", "is_leak"),
    [
        ("the answer is B-17", True),
        ("the answer is b 17.", True),
        ("the answer is b 170", False),
        ("made by acme", True),
        ("made by acmes", False),
    ],
)
def test_a_name_of_the_partner_is_a_leak_as_a_whole_word(told, is_leak):
    assert leaks(told, "mugs", own=OWN, names=["b-17", "ACME"]) is is_leak


def test_what_the_own_content_says_is_no_leak():
    assert not leaks("three red mugs of Acme", "x", own="mugs of ACME", names=["acme"])
    assert not leaks(f"asks for {TARGET}", TARGET, own=TARGET)


def test_an_empty_name_is_nowhere():
    assert not leaks("a lemon", "mugs", own=OWN, names=["", "..."])


def test_the_length_of_a_run_can_be_chosen():
    assert leaks("red striped mugs", TARGET, own=OWN, min_run=3)
    assert not leaks("red striped mugs", TARGET, own=OWN, min_run=4)
