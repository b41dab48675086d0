"""Tests for ponder/nano/school.py: what school teaches, and what it leaves as it was."""

from catalog.bazaar import observations, riddles
from embedder.finetune.training.vocabulary import with_vocabulary
from embedder.model.checkpoint import load
from embedder.nano.evaluation import heldout_products
from ponder.finetuning.recipes import configured
from ponder.nano.school import WORKER, exercises, sentences, shop_examples


def test_an_exercise_asks_for_single_facts_and_tells_each_of_them():
    sentence_of = {fact.question: fact.sentence for fact in riddles.facts()}
    for example in exercises(50, seed=1):
        asked = example.pair.query.text.split(", ")
        assert 1 <= len(asked) <= 4
        assert example.rationales[WORKER].text == ". ".join(sentence_of[one] for one in asked)


def test_the_shop_goes_on_without_products_that_are_held_out():
    names = {product.name for product in heldout_products(200, seed=0)}
    assert not names & {example.pair.target_key for example in shop_examples(200, seed=0)}


def test_every_word_of_a_fact_is_one_token_behind_another_word():
    school = configured(recipe="school")
    extended = with_vocabulary(
        load("nano"),
        sentences(seed=0),
        num_tokens=school.vocabulary.num_tokens,
        min_count=school.vocabulary.min_count,
    ).inputs.tokenizer
    told = [fact.sentence for fact in riddles.facts()]
    for sentence in (*told, *observations.ABOUT_ANY_QUESTION, *observations.EMPTY):
        for word in sentence.split():
            if not word.isdigit():  # digits stand apart from the space before them
                assert len(extended.tokenize(f" {word}")) == 1, word
