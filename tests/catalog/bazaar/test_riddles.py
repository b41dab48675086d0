"""Tests for catalog/bazaar/riddles: every answer can be worked out from the facts alone."""

import random
import re

import pytest

from catalog.bazaar.riddles import (
    COLOUR_THINGS,
    COUNT_THINGS,
    EATERS,
    PATTERN_THINGS,
    ask,
    facts,
)
from catalog.bazaar.world import COLOURS, COUNTS, PATTERNS, random_product

COLOUR_OF = {thing: colour for colour, things in COLOUR_THINGS.items() for thing in things}
PATTERN_OF = {thing: pattern for pattern, things in PATTERN_THINGS.items() for thing in things}
COUNT_OF = {owner: count for count, things in COUNT_THINGS.items() for owner in things}


def riddles(tier, num_riddles, seed=0):
    rng = random.Random(seed)
    return [ask(random_product(rng), tier, rng) for _ in range(num_riddles)]


def test_every_value_has_a_thing_and_no_thing_has_two_values():
    assert set(COLOUR_THINGS) == set(COLOURS)
    assert set(PATTERN_THINGS) == set(PATTERNS)
    assert set(COUNT_THINGS) == set(COUNTS)
    assert len(COLOUR_OF) == sum(map(len, COLOUR_THINGS.values()))
    assert len(PATTERN_OF) == sum(map(len, PATTERN_THINGS.values()))
    assert len(COUNT_OF) == sum(map(len, COUNT_THINGS.values()))
    assert set(EATERS.values()) <= set(COLOUR_OF)


@pytest.mark.parametrize("tier", ["indirect", "composed"])
def test_the_facts_give_the_values_that_the_riddle_asks_for(tier):
    for riddle in riddles(tier, 300):
        text, wanted = riddle.question.text, riddle.question.wanted
        if match := re.search(r"in the colour of what (.+) eats$", text):
            assert COLOUR_OF[EATERS[match[1]]] == wanted.colour
        elif match := re.search(r"in the colour of (.+)$", text):
            assert COLOUR_OF[match[1]] == wanted.colour
        if match := re.search(r"patterned like (.+)$", text):
            assert PATTERN_OF[match[1]] == wanted.pattern
        if match := re.search(r" as (an? \w+) has (\w+)", text):
            count = COUNT_OF[match[1], match[2]]
            for word, parts, owner in re.findall(r"(with|without) the (\w+) of (an? \w+)", text):
                count += COUNT_OF[owner, parts] * (1 if word == "with" else -1)
            assert count == wanted.count


def test_every_sentence_of_a_rationale_is_a_fact():
    known = {fact.sentence for fact in facts()}
    for riddle in riddles("composed", 300):
        assert {*riddle.clues} <= known
        assert {*riddle.question.rationale.split(". ")} <= known


def test_sums_among_the_facts_are_right_and_stay_among_the_counts():
    sums = [fact for fact in facts() if re.match(r"\d", fact.question)]
    # 1 to 6 less 1 to 6 that is at least 1: 15 ways; two of 1 to 6 that are at most 6: 15 ways.
    assert len(sums) == len({fact.question for fact in sums}) == 30
    for fact in sums:
        first, word, second = fact.question.split()
        expected = int(first) + int(second) * (1 if word == "with" else -1)
        assert expected in COUNTS
        assert fact.sentence == f"{fact.question} is {expected}"
        assert fact.value == str(expected)


def test_a_composed_riddle_takes_at_least_three_facts_and_an_indirect_one_takes_one():
    assert min(len(riddle.clues) for riddle in riddles("composed", 300)) == 3
    assert {len(riddle.clues) for riddle in riddles("indirect", 300)} == {1}
    assert {len(riddle.clues) for riddle in riddles("literal", 50)} == {0}


def test_a_quarter_of_the_combinations_is_held_out_but_no_single_fact():
    drawn = riddles("composed", 20_000)
    held_out = [riddle for riddle in drawn if riddle.is_held_out]
    assert 0.2 < len(held_out) / len(drawn) < 0.3
    trained_facts = {clue for riddle in drawn if not riddle.is_held_out for clue in riddle.clues}
    assert {clue for riddle in held_out for clue in riddle.clues} <= trained_facts
    assert not any(riddle.is_held_out for riddle in riddles("indirect", 1_000))


def test_the_order_of_its_facts_does_not_decide_whether_a_combination_is_held_out():
    for riddle in riddles("composed", 100):
        turned = type(riddle)(riddle.question, riddle.clues[::-1])
        assert turned.is_held_out == riddle.is_held_out
