"""Tests for bench/reasoning*.py: the world's fairness, the table's arithmetic, and resuming."""

import json
import math
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from bench import reasoning_report
from bench.reasoning_cells import (
    Cell,
    RunSettings,
    cell_of,
    run_missing,
    with_parents,
)
from bench.reasoning_outcomes import first_ranks
from bench.reasoning_rationales import (
    NUM_WORKERS,
    examples_of,
    scripted_kinds,
    written,
)
from bench.reasoning_world import WorldSize, with_near_misses, world
from bench.run_folder import check_settings
from catalog.bazaar.questions import TIERS
from embedder.finetune.rationales.judging import JUDGED

SIZE = WorldSize(num_pairs=150, num_candidates=40, num_questions=15)


@pytest.fixture(scope="module")
def small():
    return world(3, SIZE)


def combinations(riddles):
    return {frozenset(riddle.clues) for riddle in riddles if len(riddle.clues) > 1}


def test_no_combination_of_facts_that_is_tested_is_learned(small):
    composed = [riddle for riddle in small.questions if riddle.question.tier == "composed"]
    learned = combinations(one.riddle for one in small.asked)
    assert learned
    assert not learned & combinations(composed)
    assert all(riddle.is_held_out for riddle in composed)
    assert not any(one.riddle.is_held_out for one in small.asked)
    assert not any(one.riddle.question.wanted.is_held_out for one in small.asked)


def test_the_world_has_its_size_and_every_question_an_answer(small):
    assert len(small.asked) == 150
    assert len({product.name for product in small.products}) == len(small.items) == 40
    assert [r.question.tier for r in small.questions] == [t for t in TIERS for _ in range(15)]
    assert all(riddle.question.answers(small.products) for riddle in small.questions)


def test_a_seed_decides_the_world_and_another_one_makes_another(small):
    again, other = world(3, SIZE), world(4, SIZE)
    assert [one.pair for one in again.asked] == [one.pair for one in small.asked]
    assert again.items == small.items
    assert {one.pair.query.text for one in other.asked} != {
        one.pair.query.text for one in small.asked
    }


def test_near_misses_do_not_answer_the_query(small):
    for one, pair in zip(small.asked, with_near_misses(small.asked, seed=3), strict=True):
        question = one.riddle.question
        names = {product.name for product in small.products if question.fits(product)}
        assert len(pair.negatives) == 3
        assert not names & {negative.key for negative in pair.negatives}


def test_half_of_a_medium_mix_is_right_and_workers_draw_apart(small):
    kinds = scripted_kinds(small.asked, "medium", seed=3)
    drawn = [kind for by_worker in kinds.values() for kind in by_worker]
    # Three deviations of a binomial of 450 halves are 0.07.
    assert drawn.count("right") / len(drawn) == pytest.approx(0.5, abs=0.07)
    assert len({tuple(by_worker) for by_worker in kinds.values()}) == NUM_WORKERS


def judged(rows):
    """Judgements of texts by pair and worker, with a gain over nothing."""
    base = {name: None for name in JUDGED} | {"side": "query", "num_tokens": 0, "flags": []}
    return pl.DataFrame(
        [
            base
            | {"pair_id": pair_id, "worker": worker, "text": text, "summary": "s"}
            | {"prompt_version": "1", "without": 0.0, "with": gain}
            for pair_id, worker, text, gain in rows
        ],
        schema=JUDGED,
    )


def test_selection_weighs_by_gain_and_one_worker_is_the_first(small):
    asked = small.asked[:2]
    rows = written(asked, "medium", seed=3)
    said = judged(
        [
            ("p00000", "writer-0", "a", 1.0),
            ("p00000", "writer-1", "b", 3.0),
            ("p00001", "writer-0", "c", 0.4),
        ]
    )
    selected = examples_of("selected", asked, rows, said, seed=3)
    share = math.exp(1) / (math.exp(1) + math.exp(3))
    assert [path.weight for path in selected[0].query_rationales] == pytest.approx(
        [share, 1 - share]
    )
    assert selected[1].query_rationales == ()  # a gain below the limit: direct only
    alone = examples_of("one_worker", asked, rows, said, seed=3)
    assert [(path.text, path.weight) for path in alone[0].query_rationales] == [("a", 1.0)]
    everything = examples_of("unselected", asked, rows, said, seed=3)
    assert [len(example.query_rationales) for example in everything] == [NUM_WORKERS] * 2


def test_shuffled_rationales_are_the_selected_ones_on_other_pairs(small):
    asked = small.asked[:20]
    said = judged([(one.pair.pair_id, "writer-0", one.pair.pair_id, 2.0) for one in asked[:15]])
    dealt = examples_of("shuffled", asked, written(asked, "mild", seed=3), said, seed=3)
    texts = [path.text for example in dealt for path in example.query_rationales]
    assert sorted(texts) == [one.pair.pair_id for one in asked[:15]]
    assert all(path.text != one.pair.pair_id for one in dealt for path in one.query_rationales)


def test_the_first_candidate_that_fits_gives_the_rank_and_ties_go_by_id():
    scores = np.array([[0.1, 0.9, 0.5, 0.9], [0.3, 0.3, 0.3, 0.3]])
    fits = np.array([[True, False, True, False], [False, False, True, True]])
    np.testing.assert_array_equal(first_ranks(scores, fits), [3, 3])


def outcome(tier, gate, direct, reasoned, given):
    ranks = {"rank_direct": direct, "rank_reasoned": reasoned, "rank_given": given}
    told = {"summary": "3 mugs" if reasoned == 1 else "2 mugs", "right_summary": "3 mugs"}
    return {"tier": tier, "gate": gate, **told, **ranks}


RESULT = {
    "theta": 0.5,
    "seconds": {"never": 1.0, "auto": 2.0, "always": 4.0},
    "gains": [],
    "outcomes": [
        outcome("literal", 0.1, 1, 2, 1),
        outcome("indirect", 0.5, 3, 1, 1),
        outcome("composed", 0.9, 4, 1, 1),
        outcome("composed", 0.2, 9, 1, 7),
    ],
}


@pytest.mark.parametrize(
    ("asking", "literal", "composed", "overall", "rate", "seconds"),
    [
        ("direct", 1.0, 0.0, 1 / 4, 0.0, 1.0),
        ("reasoned", 0.0, 1.0, 3 / 4, 1.0, 4.0),
        ("auto", 1.0, 1 / 2, 3 / 4, 1 / 2, 2.0),
        ("better", 1.0, 1.0, 1.0, 3 / 4, None),
        ("given", 1.0, 1 / 2, 3 / 4, 1.0, None),
    ],
)
def test_each_way_of_asking_takes_its_own_ranks(asking, literal, composed, overall, rate, seconds):
    measured = reasoning_report.measures(RESULT, asking)
    hits = [measured[group]["hit@1"] for group in ("literal", "composed", "overall")]
    assert hits == [literal, composed, overall]
    assert (measured["overall"]["reason_rate"], measured["seconds"]) == (rate, seconds)
    assert measured["overall"]["right_summaries"] == 3 / 4


def test_deviations_are_those_of_a_sample_and_one_seed_has_none():
    # Mean .5; squared deviations .01 + 0 + .01 over n - 1 = 2: .01, whose root is .1.
    assert reasoning_report.mean_and_sd([0.4, 0.5, 0.6]) == [0.5, 0.1]
    assert reasoning_report.mean_and_sd([0.4]) == [0.4, None]


def test_differences_are_taken_seed_by_seed():
    groups = reasoning_report.GROUPS
    measured = {
        "adaptive": {s: {g: {"hit@1": hit} for g in groups} for s, hit in ((0, 0.5), (1, 0.7))},
        "direct": {s: {g: {"hit@1": hit} for g in groups} for s, hit in ((1, 0.4), (2, 0.1))},
    }
    assert reasoning_report.differences(measured) == {
        "adaptive - direct": {key: [0.3] for key in groups}  # seed 1 alone has both
    }


def test_the_theta_curve_goes_from_always_to_never():
    curve = reasoning_report.theta_curve([RESULT["outcomes"]])
    assert (curve[0]["reason_rate"], curve[0]["hit@1"]) == (1.0, 0.75)
    assert (curve[-1]["reason_rate"], curve[-1]["hit@1"]) == (0.0, 0.25)
    at_half = next(point for point in curve if point["theta"] == 0.5)
    assert (at_half["reason_rate"], at_half["hit@1"]) == (0.5, 0.75)


def test_kept_rationales_that_move_the_rank_are_counted():
    moved = [(2.0, True, 4, 1), (1.0, True, 2, 2), (-1.0, False, 1, 3)]
    rows = [
        {"gain": gain, "kept": kept, "rank_direct": direct, "rank_given": given}
        for gain, kept, direct, given in moved
    ]
    assert reasoning_report.gain_effects(rows) == {
        "kept": {"num": 2, "up": 0.5, "down": 0.0},
        "refused": {"num": 1, "up": 0.0, "down": 1.0},
        "spearman": 1.0,
    }


def test_a_finished_cell_is_not_trained_again_and_a_gate_comes_after_its_model(tmp_path):
    trained = []

    def fake(cell, folder):
        trained.append(cell.training)
        if cell.training == "adaptive" and len(trained) == 2:
            raise KeyboardInterrupt
        return RESULT

    cells = with_parents([cell_of("adaptive", "mild", 0), cell_of("selected", "mild", 0)])
    assert [cell.training for cell in cells] == ["selected", "adaptive"]
    with pytest.raises(KeyboardInterrupt):
        run_missing(tmp_path, cells, fake)
    run_missing(tmp_path, cells, fake)
    run_missing(tmp_path, cells, fake)
    assert trained == ["selected", "adaptive", "adaptive"]
    kept = tmp_path / Cell("adaptive", "mild", 0).place / "result.json"
    assert json.loads(kept.read_text()) == RESULT


def test_direct_is_trained_once_for_all_mixes():
    assert cell_of("direct", "mild", 0) == cell_of("direct", "severe", 0)
    assert cell_of("selected", "mild", 0) != cell_of("selected", "severe", 0)


def test_a_folder_holds_one_run(tmp_path):
    check_settings(tmp_path, asdict(RunSettings(steps=5)))
    check_settings(tmp_path, asdict(RunSettings(steps=5)))
    with pytest.raises(ValueError, match="choose another folder"):
        check_settings(tmp_path, asdict(RunSettings(steps=6)))


def test_the_report_reads_what_is_finished_and_leaves_out_what_is_not(tmp_path):
    run_missing(tmp_path, [cell_of("selected", "medium", 0)], lambda cell, folder: RESULT)
    made = reasoning_report.report(tmp_path, ["direct", "always_selected"], ["medium"], [0, 1])
    assert list(made["variants"]) == ["always_selected"]
    assert made["variants"]["always_selected"]["composed"]["hit@1"] == [1.0, None]
    assert "| always_selected | 0.000 | 1.000 | 1.000 | 0.750 |" in "\n".join(
        reasoning_report.table_lines(made)
    )
