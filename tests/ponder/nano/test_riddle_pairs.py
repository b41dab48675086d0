"""Tests for ponder/nano/riddle_pairs.py and writers.py: what nano is fine-tuned on."""

import pytest

from ponder.nano.riddle_pairs import training_pairs, with_near_misses
from ponder.nano.writers import NUM_WORKERS, scripted, scripted_about_items, scripted_kinds


@pytest.fixture(scope="module")
def asked():
    return training_pairs(150, seed=3)


def test_near_misses_do_not_answer_the_query(asked):
    for one, pair in zip(asked, with_near_misses(asked, seed=3), strict=True):
        names = {other.product.name for other in asked if one.fits(other.product)}
        assert len(pair.negatives) == 3
        assert not names & {negative.key for negative in pair.negatives}


@pytest.mark.parametrize("side", ["query", "item"])
def test_half_of_a_medium_mix_is_right_and_workers_draw_apart(asked, side):
    kinds = scripted_kinds(asked, "medium", seed=3, side=side)
    drawn = [kind for by_worker in kinds.values() for kind in by_worker]
    # Three deviations of a binomial of 495 halves are 0.07.
    assert drawn.count("right") / len(drawn) == pytest.approx(0.5, abs=0.07)
    assert len({tuple(by_worker) for by_worker in kinds.values()}) == NUM_WORKERS


def test_a_worker_says_the_same_of_a_query_however_many_ask_it(asked):
    said = scripted(asked, "medium", seed=3)
    assert scripted(asked, "medium", seed=3) == said
    assert {frozenset(of_pair) for of_pair in said} == {
        frozenset(f"writer-{number}" for number in range(NUM_WORKERS))
    }


def test_most_of_what_is_said_of_items_ends_with_their_names(asked):
    said = scripted_about_items(asked, "mild", seed=3)
    right = [
        rationale.summary == one.product.name
        for one, of_pair in zip(asked, said, strict=True)
        for rationale in of_pair.values()
    ]
    # Right ones are 80 %, and leaks, of which there are 5 %, tell the name as well.
    assert sum(right) / len(right) == pytest.approx(0.85, abs=0.06)
