"""Tests for features/served.py: what was ranked is found for the page that shows it."""

from datetime import UTC, datetime, timedelta

import polars as pl

from catalog.lake.tables import TIME
from features.centring import Centring
from features.schema import Feature
from features.served import ServedFeatures, as_served, folder_of
from features.table import FeatureTable

NOON = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)  # a page of today may have been ranked yesterday
CENTRING = Centring("v", (0.0,), ())
FEATURES = (Feature("rate", "Float32", "context", "a rate", "x"),)


def ranked(minutes, values, user="u"):
    """A table of a request so many minutes before the page."""
    ts = NOON - timedelta(minutes=minutes)
    frame = pl.DataFrame(
        {"request_id": "live", "user_id": user, "item_id": list(values), "ts": ts}
        | {"rate": list(values.values())},
        schema_overrides={"ts": TIME, "rate": pl.Float32},
    )
    return FeatureTable(frame, FEATURES, CENTRING, {})


def page(*items):
    return pl.DataFrame(
        {"request_id": "r", "user_id": "u", "item_id": items, "ts": NOON, "relevance": 1},
        schema_overrides={"ts": TIME},
    )


def test_a_page_has_the_features_of_the_newest_ranking_within_an_hour(tmp_path):
    served = ServedFeatures(tmp_path)
    served.add(ranked(50, {"a": 0.1, "b": 0.2}))
    served.add(ranked(40, {"a": 0.3}))
    served.add(ranked(61, {"old": 0.4}))
    served.add(ranked(-1, {"b": 0.5}))  # after the page
    served.add(ranked(5, {"other": 0.6}, user="v"))
    assert served.flush(now=True)
    assert not served.flush(now=True)  # nothing is held any more
    folder = folder_of(tmp_path, ranked(0, {}).schema_hash, CENTRING)
    got = as_served(page("b", "old", "other", "a"), folder, ["rate"])
    assert got["item_id"].to_list() == ["b", "a"]
    assert got["rate"].to_list() == pl.Series([0.2, 0.3], dtype=pl.Float32).to_list()
    assert got.columns == [*page("a").columns, "rate"]


def test_rows_of_another_centring_are_not_found(tmp_path):
    served = ServedFeatures(tmp_path)
    served.add(ranked(5, {"a": 0.1}))
    served.flush(now=True)
    other = folder_of(tmp_path, ranked(0, {}).schema_hash, Centring("v", (0.5,), ()))
    assert as_served(page("a"), other, ["rate"]).is_empty()


def test_much_is_written_without_being_asked_for(tmp_path, monkeypatch):
    served = ServedFeatures(tmp_path)
    served.add(ranked(5, {"a": 0.1, "b": 0.2}))
    assert not served.flush()
    monkeypatch.setattr("features.served.MAX_ROWS", 2)
    assert served.flush()
