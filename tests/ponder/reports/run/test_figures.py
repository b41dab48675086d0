"""Tests for ponder/reports/run/figures.py: the figures are parsed as XML again."""

import re
from xml.etree import ElementTree

import numpy as np

from ponder.reports.run.figures import (
    difference_intervals,
    gate_histogram,
    importance_bars,
)


def texts(svg):
    return [
        "".join(e.itertext()).strip() for e in ElementTree.fromstring(parsable(svg)).iter("text")
    ]


def parsable(svg):
    """Inside a page `xlink:` needs no declaration; XML alone insists on one."""
    return svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1)


def test_the_gate_figure_counts_what_is_at_or_above_theta():
    svg = gate_histogram(
        {"literal": np.array([0.1, 0.25, 0.9]), "items": np.array([0.0])}, theta=0.25
    )
    words = " ".join(texts(svg))
    assert "2 of 3" in words
    assert "0 of 1" in words


def test_labels_are_text_and_not_mathematics_or_markup():
    svg = gate_histogram({"$\\frac$ <b>&": np.array([0.5])}, theta=0.5)
    assert "$\\frac$ <b>&" in texts(svg)


def test_bars_are_in_the_colour_of_their_group():
    svg = importance_bars({"match_max": 0.75, "item_rate": 0.25}, warm=["match_max"])
    assert svg.count("fill: var(--warm)") == 1
    assert svg.count("fill: var(--cool)") == 1
    assert {"75.0", "25.0"} <= set(texts(svg))
    assert svg.index("match_max") < svg.index("item_rate")


def test_an_interval_that_excludes_zero_is_warm_and_an_unknown_one_keeps_its_row():
    sure = {"mean": 0.2, "low": 0.1, "high": 0.3}
    unsure = {"mean": 0.2, "low": -0.1, "high": 0.5}
    unknown = {"mean": None, "low": float("nan"), "high": None}
    svg = difference_intervals({"all": sure, "age: < 24 h": unsure, "none": unknown})
    assert {"all", "age: < 24 h", "none"} <= set(texts(svg))
    for colour in ("warm", "cool"):
        assert len(re.findall(rf"stroke: var\(--{colour}\)", svg)) >= 1
    assert "stroke: var(--warm)" not in difference_intervals({"all": unsure})
    assert "stroke: var(--cool)" not in difference_intervals({"all": sure})


def test_figures_take_every_colour_from_the_page():
    svg = gate_histogram({"items": np.array([0.1, 0.9])}, theta=0.5)
    assert not re.findall(r"#[0-9a-f]{6}\b", svg)


def test_a_figure_names_no_address():
    assert "http" not in importance_bars({"item_rate": 1.0}, warm=[])
