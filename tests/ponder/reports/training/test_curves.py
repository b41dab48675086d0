"""Tests for ponder/reports/training/curves.py."""

import json

from ponder.reports.training.curves import training_curves, write_training_curves

ROWS = [
    {"num_done": 10, "elapsed_s": 1.0, "gate/reward": 0.5, "gate/reason_frac": 0.5},
    {"num_done": 20, "elapsed_s": 1.0, "gate/reward": 0.75},
    {"num_done": 30, "elapsed_s": 1.0, "gate/reward": 1.0, "gate/reason_frac": 0.25},
]


def test_every_number_but_the_clocks_gets_a_panel_with_its_name():
    panels = training_curves(ROWS).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["gate/reward", "gate/reason_frac"]
    assert [axes.get_xlabel() for axes in panels] == ["", "steps"]


def test_a_curve_has_a_point_for_each_line_that_knows_the_number():
    (line,) = training_curves(ROWS).axes[1].lines
    assert line.get_xydata().tolist() == [[10, 0.5], [30, 0.25]]


def test_the_figure_of_a_log_is_a_file_of_its_own_and_the_same_every_time(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    write_training_curves(log, tmp_path / "curves.svg")
    assert 'xmlns="http://www.w3.org/2000/svg"' in (tmp_path / "curves.svg").read_text()
