"""Tests for ponder/reports/run/curves.py."""

import json

import pytest

from ponder.reports.run.curves import read_log, training_curves

ROWS = [
    {"num_done": 10, "gate/reward": 0.5, "gate/reason_frac": 0.5},
    {"num_done": 20, "gate/reward": 0.75},
    {"num_done": 30, "gate/reward": 1.0, "gate/reason_frac": 0.25},
]


def test_every_number_gets_a_panel_with_its_name():
    svg = training_curves(ROWS, ["gate/reward", "gate/reason_frac"])
    assert svg.startswith("<svg")
    assert svg.index(">gate/reward<") < svg.index(">gate/reason_frac<")
    assert svg.count(">steps<") == 1
    assert "var(--cool)" in svg


def test_a_curve_has_a_point_for_each_line_that_knows_the_number():
    few = training_curves(ROWS, ["gate/reason_frac"])
    many = training_curves([*ROWS, {"num_done": 40, "loss": 1.0}], ["gate/reason_frac"])
    assert few == many


def test_a_name_that_no_line_has_is_refused():
    with pytest.raises(ValueError, match=r"got 'gate/loss'; it has \['gate/reason_frac'"):
        training_curves(ROWS, ["gate/loss"])


def test_a_log_is_read_line_by_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert read_log(path) == ROWS
