"""Tests for page.py: what a page says of rankers, with intervals."""

import pytest

from tests.ponder.reports.run.pages import DASH, EVALUATION, RANKING, intervals, page_of, put_report


def test_ranking_shows_both_rankers_the_difference_and_a_dash_for_what_is_not_defined(settings):
    put_report(settings, "ranking", RANKING)
    page = page_of(settings)
    assert [
        "auc",
        "0.500 0.400 … 0.600",
        "0.750 0.700 … 0.800",
        "+0.250 0.200 … 0.300",
    ] in page.rows
    assert ["< 24 h", "10", f"{DASH} {DASH}", f"{DASH} {DASH}"] in page.rows
    features = [row for row in page.rows if row[0] in RANKING["importances"]]
    assert [row[:2] for row in features] == [["match_max", "match"], ["item_rate", "context"]]
    assert features[0][3] == "cosine with the history: nearest history item"


@pytest.mark.parametrize(
    ("ends", "css_class"),
    [
        ((0.1, 0.3), "sure up"),
        ((-0.3, -0.1), "sure down"),
        ((-0.1, 0.3), ""),
        ((0.2, 0.2), ""),  # one request: every draw is the same, which proves nothing
        ((None, None), ""),
    ],
)
def test_a_difference_is_called_sure_only_when_its_interval_excludes_zero(
    settings, ends, css_class
):
    evaluation = EVALUATION | {"differences": {"with match": intervals(0.2, *ends)}}
    put_report(settings, "ranking", RANKING | {"overall": evaluation, "slices": {}})
    spans = [a.get("class") for tag, a in page_of(settings).elements if tag == "span"]
    assert spans.count(css_class) == 4
    assert {"sure up", "sure down", ""} & set(spans) == {css_class}


def test_a_log_without_impressions_has_its_metrics_at_the_top(settings):
    evaluation = {name: EVALUATION[name] for name in ("metrics", "differences")}
    top = {"protocol": "leave_last_out", "num_users": 610, "num_candidates": 4321}
    put_report(
        settings,
        "ranking",
        top | evaluation | {"num_train_requests": 9, "importances": {"item_rate": 1.0}},
    )
    page = page_of(settings)
    assert "610 users among 4,321" in page.sections["ranking"]
    assert "auc" in [row[0] for row in page.rows]
