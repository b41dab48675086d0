"""Tests for embedder/reasoners/prompt.py: what is read out of a reasoner's answer."""

import pytest

from embedder.reasoners.prompt import MAX_CHARS, read_answer
from embedder.reasoners.reasoner import NoRationale, Rationale


@pytest.mark.parametrize(
    ("answer", "text", "summary"),
    [
        ("A banana is yellow.\nSummary: yellow mugs", "A banana is yellow.", "yellow mugs"),
        ("One.\n**Summary:** two\nlines", "One.", "two lines"),
        ("Only reasoning, no such line", "Only reasoning, no such line", ""),
        ("Summary: first\nmore\nsummary : last", "first more", "last"),
        ("In summary: it is red", "In summary: it is red", ""),
        ("<think>A banana is yellow.</think>yellow mugs", "A banana is yellow.", "yellow mugs"),
        ("thinks</think>Says.\nSummary: yellow mugs", "thinks Says.", "yellow mugs"),
        ("a\tb\x1b[31m\x00c\nSummary: d", "a b [31m c", "d"),
    ],
)
def test_a_rationale_and_its_summary_are_told_apart(answer, text, summary):
    assert read_answer(answer) == Rationale(text, summary)


def test_reasoning_that_comes_apart_from_the_answer_makes_it_the_summary():
    assert read_answer("yellow mugs", reasoning="A banana is yellow.", num_tokens=7) == Rationale(
        "A banana is yellow.", "yellow mugs", 7
    )


@pytest.mark.parametrize("answer", ["", " \n\t", "\x00", "Summary:", "<think></think>"])
def test_an_answer_that_says_nothing_is_a_failure(answer):
    assert read_answer(answer) == NoRationale("the reasoner's answer was empty")


def test_an_endless_answer_is_cut():
    rationale = read_answer("long " * 100_000 + "\nSummary: " + "short " * 100_000)
    assert len(rationale.text) == len(rationale.summary) == MAX_CHARS
