"""Tests for bench/reasoning*.py: the world's fairness, the table's arithmetic, and resuming."""

import json

import numpy as np
import polars as pl
import pytest

from bench import reasoning_report
from bench.reasoning_cells import Cell, cell_of, run_missing, with_parents
from bench.reasoning_outcomes import first_ranks
from bench.reasoning_runs import shuffled
from bench.reasoning_variants import TRAININGS
from bench.reasoning_world import WorldSize, world
from bench.run_folder import check_settings
from catalog.bazaar.riddles import TEST_SHARES
from ponder.finetuning.negatives import hardened
from ponder.finetuning.options import flattened
from ponder.finetuning.rationales import written_rationales
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.stages import run_stage
from ponder.nano.making import GIVEN_ALONE
from ponder.nano.riddle_pairs import with_near_misses
from ponder.nano.writers import scripted, write_riddles
from ponder.settings import Settings

SIZE = WorldSize(num_pairs=150, num_candidates=40, num_questions=15)


@pytest.fixture(scope="module")
def small():
    return world(3, SIZE)


def combinations(asked):
    return {frozenset(one.clues) for one in asked if len(one.clues) > 1}


def test_no_combination_of_facts_that_is_tested_is_learned(small):
    composed = [riddle for riddle in small.questions if riddle.question.tier == "composed"]
    learned = combinations(small.asked)
    assert learned
    assert not learned & combinations(composed)
    assert all(riddle.is_held_out for riddle in composed)
    assert not any(one.product.is_held_out for one in small.asked)


def test_the_world_has_its_size_and_every_question_an_answer(small):
    assert [one.pair.source for one in small.asked] == ["riddles"] * 150 + ["shop"] * 15
    assert len({product.name for product in small.products}) == len(small.items) == 40
    assert [riddle.question.tier for riddle in small.questions] == [
        tier for tier, share in TEST_SHARES.items() for _ in range(15 * share)
    ]
    assert all(riddle.question.answers(small.products) for riddle in small.questions)


def test_a_seed_decides_the_world_and_another_one_makes_another(small):
    again, other = world(3, SIZE), world(4, SIZE)
    assert [one.pair for one in again.asked] == [one.pair for one in small.asked]
    assert again.items == small.items
    assert {one.pair.query.text for one in other.asked} != {
        one.pair.query.text for one in small.asked
    }


def selected(*kept):
    """Rows of a selection: pair_id, text and whether it was kept."""
    schema = {"pair_id": pl.String, "text": pl.String, "kept": pl.Boolean}
    return pl.DataFrame(kept, schema=schema, orient="row")


def test_shuffled_rationales_are_the_selected_ones_on_other_pairs():
    pair_ids = [f"p{number}" for number in range(20)]
    rows = selected(*[(one, f"of {one}", one != "p3") for one in pair_ids[:15]])
    dealt = shuffled(rows, pair_ids, seed=3)
    assert sorted(dealt["text"]) == sorted(rows.filter("kept")["text"])
    assert sorted(dealt["pair_id"]) == sorted(rows.filter("kept")["pair_id"])
    assert not any(text == f"of {one}" for one, text in dealt.select("pair_id", "text").iter_rows())


def test_a_variant_is_the_default_recipe_with_named_values_changed():
    default = flattened(configured())
    for name, training in TRAININGS.items():
        changed = flattened(configured(training.changes))
        left_out = tuple(f"{name}." for name, value in training.changes.items() if value is None)
        kept = {option for option in default if not option.startswith(left_out)}
        differing = {option for option in kept if changed.get(option) != default[option]}
        in_missing_sections = {option for option in training.changes if option not in default}
        assert differing == set(training.changes) - in_missing_sections, name
        assert all(changed[option] == training.changes[option] for option in in_missing_sections)


def test_riddles_are_a_folder_that_a_fine_tune_takes(small, tmp_path):
    asked = small.asked[:70]
    write_riddles(tmp_path / "data", asked, "mild", seed=3)
    changes = {**GIVEN_ALONE, "data": str(tmp_path / "data"), "seed": 3}
    run = Run.open(Settings(home=tmp_path), configured(changes), tmp_path / "run")
    for stage in ("pairs", "vocabulary", "negatives", "behaviour", "rationales"):
        run_stage(run, stage)
    expected = with_near_misses(asked, seed=3)
    for found, pair in zip(hardened(run, "negatives"), expected, strict=True):
        assert (found.query, found.query_key) == (pair.query, pair.query_key)
        assert (found.target.text, found.target.image) == (pair.target.text, pair.target.image)
        assert (found.target_key, found.source, found.answers) == (
            pair.target_key,
            pair.source,
            frozenset(),
        )
        assert [n.key for n in found.negatives] == [n.key for n in pair.negatives]
        assert [n.content.image for n in found.negatives] == [
            n.content.image for n in pair.negatives
        ]
    said = {one.text for one in written_rationales(run)}
    assert said == {
        one.text for of_pair in scripted(asked, "mild", seed=3) for one in of_pair.values()
    }
    assert {one.worker for one in written_rationales(run)} == {"writer-0", "writer-1", "writer-2"}


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
        outcome("everyday", 0.5, 3, 1, 1),
        outcome("indirect", 0.5, 3, 1, 1),
        outcome("composed", 0.9, 4, 1, 1),
        outcome("composed", 0.2, 9, 1, 7),
    ],
}


@pytest.mark.parametrize(
    ("asking", "literal", "composed", "overall", "rate", "seconds"),
    [
        ("direct", 1.0, 0.0, 1 / 5, 0.0, 1.0),
        ("reasoned", 0.0, 1.0, 4 / 5, 1.0, 4.0),
        ("auto", 1.0, 1 / 2, 4 / 5, 3 / 5, 2.0),
        ("better", 1.0, 1.0, 1.0, 4 / 5, None),
        ("given", 1.0, 1 / 2, 4 / 5, 1.0, None),
    ],
)
def test_each_way_of_asking_takes_its_own_ranks(asking, literal, composed, overall, rate, seconds):
    measured = reasoning_report.measures(RESULT, asking)
    hits = [measured[group]["hit@1"] for group in ("literal", "composed", "overall")]
    assert hits == [literal, composed, overall]
    assert (measured["overall"]["reason_rate"], measured["seconds"]) == (rate, seconds)
    assert measured["overall"]["right_summaries"] == 4 / 5


def test_deviations_are_those_of_a_sample_and_one_seed_has_none():
    # Mean .5; squared deviations .01 + 0 + .01 over n - 1 = 2: .01, whose root is .1.
    assert reasoning_report.mean_and_sd([0.4, 0.5, 0.6]) == [0.5, 0.1]
    assert reasoning_report.mean_and_sd([0.4]) == [0.4, None]


def test_differences_are_taken_question_by_question_of_the_seeds_that_both_have():
    def of_seed(*hits):
        return {group: {"hits": hits} for group in reasoning_report.GROUPS}

    measured = {
        "adaptive": {0: of_seed(1, 1), 1: of_seed(1, 1, 0, 1)},
        "direct": {1: of_seed(0, 1, 0, 1), 2: of_seed(0, 0)},
    }
    (name,) = found = reasoning_report.differences(measured)
    assert name == "adaptive - direct"
    for one in found[name].values():
        assert (one["by_seed"], one["mean"]) == ([0.25], 0.25)  # one question of four
        assert one["interval"] == [0.0, 0.75]  # of 4 draws none, or at most three, are that one


def test_the_theta_curve_goes_from_always_to_never():
    curve = reasoning_report.theta_curve([RESULT["outcomes"]])
    assert (curve[0]["reason_rate"], curve[0]["hit@1"]) == (1.0, 0.8)
    assert (curve[-1]["reason_rate"], curve[-1]["hit@1"]) == (0.0, 0.2)
    at_half = next(point for point in curve if point["theta"] == 0.5)
    assert (at_half["reason_rate"], at_half["hit@1"]) == (0.6, 0.8)


def test_where_items_reason_too_all_four_pairings_are_told():
    ranks = [{"rank_direct_reason": 1, "rank_reason_reason": 3 - number % 3} for number in range(5)]
    found = [one | more for one, more in zip(RESULT["outcomes"], ranks, strict=True)]
    told = reasoning_report.measures({**RESULT, "outcomes": found}, "both")
    direct, reasoned = (
        sum(one[name] == 1 for one in found) / 5 for name in ("rank_direct", "rank_reasoned")
    )
    assert told["overall"]["pairings"] == {
        **{"direct_direct": direct, "reason_direct": reasoned},
        **{"direct_reason": 1.0, "reason_reason": 0.2},
    }
    assert told["overall"]["hit@1"] == 0.2
    assert reasoning_report.row([told])["overall"]["pairings"]["direct_reason"] == [1.0, None]
    assert reasoning_report.measures(RESULT, "reasoned")["overall"]["pairings"] == {}


def test_drift_counts_rationales_that_are_no_longer_what_they_were():
    def said(*rationales):
        return [
            {"rationale": text, "summary": text[-1], "right_summary": "c"} for text in rationales
        ]

    log = '{"gate/query/token_kl": 0.5}\n{"gate/query/token_kl": 0.25}\n'
    assert reasoning_report.drift(said("a", "b", "c", "c"), said("a", "c", "c", "d c"), log) == {
        **{"changed": 0.5, "token_kl": 0.25},
        **{"summaries_before": 0.5, "summaries_after": 0.75},
    }


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

    def fake(cell):
        trained.append(cell.training)
        if cell.training == "adaptive" and len(trained) == 2:
            raise KeyboardInterrupt
        return RESULT

    cells = with_parents([cell_of("adaptive", "mild", 0), cell_of("selected", "mild", 0)])
    assert [cell.training for cell in cells] == ["selected", "adaptive"]
    line = with_parents([cell_of("both_sides_no_cross_mode", "mild", 0)])
    found = ["selected", "both_sides", "both_sides_no_cross_mode"]
    assert [cell.training for cell in line] == found
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
    check_settings(tmp_path, {"changes": {"joint.num_steps": 5}})
    begun = (tmp_path / "settings.json").stat()
    check_settings(tmp_path, {"changes": {"joint.num_steps": 5}})
    assert (tmp_path / "settings.json").stat() == begun  # a process beside it reads all or nothing
    with pytest.raises(ValueError, match="choose another folder"):
        check_settings(tmp_path, {"changes": {"joint.num_steps": 6}})


def test_the_report_reads_what_is_finished_and_leaves_out_what_is_not(tmp_path):
    run_missing(tmp_path, [cell_of("selected", "medium", 0)], lambda cell: RESULT)
    made = reasoning_report.report(tmp_path, ["direct", "always_selected"], ["medium"], [0, 1])
    assert list(made["variants"]) == ["always_selected"]
    assert made["variants"]["always_selected"]["composed"]["hit@1"] == [1.0, None]
    assert "| always_selected | 0.000 | 1.000 | 1.000 | 1.000 | 0.800 |" in "\n".join(
        reasoning_report.table_lines(made)
    )
