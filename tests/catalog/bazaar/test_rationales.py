"""Tests for catalog/bazaar/rationales.py: each kind is what its name says."""

import random
from collections import Counter

import pytest

from catalog.bazaar import questions, riddles
from catalog.bazaar.rationales import KINDS, MIXES, Answer, about_item, about_question, draw_kind
from catalog.bazaar.world import Product, random_product

ANSWER = Answer("b000007", "TWO MUGS", "ACME")
OTHER = questions.ask(Product("kite", "pink", "dotted", 6, "DUNE"), "composed", random.Random(1))


def asked(tier, number):
    rng = random.Random(f"{tier}/{number}")
    product = random_product(rng)
    return questions.ask(product, tier, rng), rng


@pytest.mark.parametrize("tier", questions.TIERS)
def test_a_right_rationale_ends_with_the_inference_and_a_wrong_one_differs_in_one_value(tier):
    for number in range(100):
        question, _ = asked(tier, number)
        right, wrong = (
            about_question(question, kind, other=OTHER, answer=ANSWER, rng=random.Random(number))
            for kind in ("right", "wrong")
        )
        inference = question.rationale or "nothing has to be inferred"
        assert right.text.startswith("the shopper asks for ")
        assert right.text.endswith(f". {inference}")
        assert right.summary == question.summary
        assert wrong.summary != right.summary
        told = wrong.text.split(". ")[-len(inference.split(". ")) :]
        changed = [
            (a, b)
            for a, b in zip(inference.split(), ". ".join(told).split(), strict=True)
            if a != b
        ]
        assert len(changed) == (1 if question.rationale else 0)
        for old, new in changed:
            assert old.rstrip(".") in right.summary.split()
            assert new.rstrip(".") in wrong.summary.split()


def test_a_wrong_count_is_wrong_in_the_conclusion_and_not_in_its_premise():
    for number in range(200):
        question, source = asked("composed", number)
        if "twice" not in question.text:
            continue
        wrong = about_question(question, "wrong", other=OTHER, answer=ANSWER, rng=source)
        premise = question.rationale.split(". ")[0]
        assert premise in wrong.text


def test_the_other_kinds_say_what_they_should():
    question, source = asked("composed", 3)
    told = {
        kind: about_question(question, kind, other=OTHER, answer=ANSWER, rng=source)
        for kind in KINDS
    }
    assert all(script.kind == kind for kind, script in told.items())
    assert told["irrelevant"].text.endswith(OTHER.rationale)
    assert told["irrelevant"].summary == OTHER.summary
    assert not set(told["empty"].summary.split()) & set(question.summary.split())
    assert any(name in told["leak"].text for name in ("b000007", "acme", "TWO MUGS"))
    with pytest.raises(ValueError, match="must ask for something else"):
        about_question(question, "irrelevant", other=question, answer=ANSWER, rng=source)


def test_items_have_the_same_kinds():
    mugs = Product("mug", "red", "plain", 2, "ACME")
    kites = Product("kite", "pink", "dotted", 6, "DUNE")
    told = {
        kind: about_item(mugs, kind, other=kites, asked="red mugs", rng=random.Random(0))
        for kind in KINDS
    }
    assert told["right"].text.startswith("the image shows mugs. there are 2 of them. ")
    assert told["right"].text.endswith("the label says acme")
    assert told["right"].summary == "2 red plain mugs"
    changed = [
        (said, own)
        for said, own in zip(told["wrong"].summary.split(), mugs.name.split(), strict=True)
        if said.rstrip("s") != own.rstrip("s")
    ]
    assert len(changed) == 1
    assert changed[0][0] in told["wrong"].text.replace(".", "").split()
    assert told["irrelevant"].summary == kites.name
    assert "red mugs" in told["leak"].text


def test_how_long_a_rationale_is_does_not_tell_how_hard_its_question_is():
    rng = random.Random(0)
    lengths = {tier: [] for tier in riddles.TIERS}
    for tier in riddles.TIERS * 300:
        question = riddles.ask(random_product(rng), tier, rng).question
        for kind in KINDS if question.summary != OTHER.summary else ():
            script = about_question(question, kind, other=OTHER, answer=ANSWER, rng=rng)
            lengths[tier].append(len(script.text.split()))
    means = {tier: sum(found) / len(found) for tier, found in lengths.items()}
    # A uniform draw from 38 to 48 has a deviation of 3.2 words; a mean of 1,500 of them one of 0.1.
    assert max(means.values()) - min(means.values()) < 1
    # No sentence has more than ten words, and the one that does not fit is left out.
    assert all(38 - 10 <= length <= 48 for found in lengths.values() for length in found)


@pytest.mark.parametrize(("name", "right"), [("mild", 0.8), ("medium", 0.5), ("severe", 0.25)])
def test_a_mix_has_its_shares(name, right):
    rng = random.Random(0)
    drawn = Counter(draw_kind(MIXES[name], rng) for _ in range(4_000))
    fault = (1 - right) / 4
    # Three standard deviations of a share near 1/2 over 4,000 draws.
    assert drawn["right"] / 4_000 == pytest.approx(right, abs=0.024)
    for kind in ("wrong", "irrelevant", "empty", "leak"):
        assert drawn[kind] / 4_000 == pytest.approx(fault, abs=0.024)
