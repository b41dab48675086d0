"""Tests for features/behaviour_spaces.py: vectors of what was liked together, by a dense oracle."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS
from features.behaviour_spaces import BehaviourSpaceConfig, BehaviourSpaces
from features.centring import Centring
from features.cooccurrence import cooccurrence
from features.daily_sums import days_of
from features.reference import Reference, References

START = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = BehaviourSpaceConfig(dim=3, num_spaces=2, min_users=2)


@pytest.fixture(scope="module")
def events():
    """Sixty users of two kinds like five items each in ten days, mostly of their half."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(60):
        half = np.where(np.arange(20) % 2 == user % 2, 9.0, 1.0)
        for item in rng.choice(20, 5, replace=False, p=half / half.sum()):
            ts = START + timedelta(hours=int(rng.integers(240)))
            rows.append({"user_id": f"u{user}", "item_id": f"i{item:02d}", "ts": ts})
    rows.append({"user_id": "u0", "item_id": "liked by one", "ts": START})
    frame = pl.DataFrame(rows).with_row_index("event_id").with_columns(action=pl.lit("like"))
    return pl.concat([EVENTS.empty(), frame.cast({"event_id": pl.String})], how="diagonal_relaxed")


@pytest.fixture(scope="module")
def spaces(events):
    return BehaviourSpaces.measured(cooccurrence(events), until=day(9), config=CONFIG)


def day(number):
    return int(days_of(pl.Series([START + timedelta(days=number)]))[0])


def slow_cosines(counts, until, items):
    """Cosines of the vectors, of dense matrices: whatever turns a space leaves them alone."""
    row = counts.rows_of(pl.Series(items))
    num = len(items)
    one, other = (side.ravel() for side in np.meshgrid(row, row, indexing="ij"))
    before = np.full(num * num, until)
    users = counts.users(one, before) * counts.users(other, before)
    weights = (counts.cosines(one, other, before) * np.sqrt(users)).reshape(num, num)
    np.fill_diagonal(weights, 0)
    expected = np.outer(weights.sum(axis=1), weights.sum(axis=1)) / weights.sum()
    with np.errstate(divide="ignore"):
        information = np.maximum(np.log(weights / expected), 0)
    left, size, _ = np.linalg.svd(information)
    vectors = left[:, : CONFIG.dim] * np.sqrt(size[: CONFIG.dim])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def test_a_space_is_the_decomposition_of_what_was_liked_before_its_day(events, spaces):
    counts = cooccurrence(events)
    for since, vectors in zip(spaces.days_T, spaces.vectors_TID, strict=True):
        known = np.flatnonzero(vectors.any(axis=1))
        expected = slow_cosines(counts, since, spaces.item_ids.gather(known).to_list())
        np.testing.assert_allclose(vectors[known] @ vectors[known].T, expected, atol=1e-4)
    assert "liked by one" not in spaces.item_ids


def test_what_was_liked_since_changes_no_space(events):
    one = replace(CONFIG, num_spaces=1)
    later = BehaviourSpaces.measured(cooccurrence(events), until=day(5), config=one)
    early = cooccurrence(events.filter(pl.col("ts") < START + timedelta(days=5)))
    assert later is not None
    assert later == BehaviourSpaces.measured(early, until=day(50), config=one)


def test_a_row_is_that_of_the_newest_space_that_had_begun(spaces):
    first, second = spaces.days_T
    items = pl.Series(["i03", "i03", "i03", "liked by one", "unknown"])
    asked = np.array([first - 1, first, second + 100, second, second])
    place = spaces.item_ids.to_list().index("i03")
    expected = [-1, place, len(spaces.item_ids) + place, -1, -1]
    assert spaces.rows_of(items, asked).tolist() == expected


def test_too_little_makes_no_space(events):
    counts = cooccurrence(events)
    assert BehaviourSpaces.measured(counts, until=day(0), config=CONFIG) is None
    assert BehaviourSpaces.measured(counts, until=day(9)) is None  # 32 numbers of 20 items
    assert BehaviourSpaces.measured(cooccurrence(EVENTS.empty()), until=day(9)) is None


def test_spaces_are_read_back_as_they_were_and_an_edited_file_is_refused(tmp_path, spaces):
    spaces.save(tmp_path)
    assert BehaviourSpaces.load(tmp_path, spaces.id) == spaces
    replace(spaces, vectors_TID=-spaces.vectors_TID).save(tmp_path)
    [path] = [each for each in tmp_path.iterdir() if spaces.id not in each.name]
    path.rename(tmp_path / f"behaviour-{spaces.id}.spaces")
    with pytest.raises(ValueError, match="must be the behaviour spaces that the manifest names"):
        BehaviourSpaces.load(tmp_path, spaces.id)
    with pytest.raises(ValueError, match="got others or none"):
        BehaviourSpaces.load(tmp_path, "lost")


def test_a_reference_is_kept_with_its_spaces_and_clusters(tmp_path, spaces):
    centring = Centring("v", (0.5, -0.25), (0.1,), ((1.0, 0.0), (0.0, 1.0)), spaces)
    made = Reference(
        name="default",
        number=0,
        centring=centring,
        first_ts=START,
        last_ts=START,
        num_items=2,
        made_at=START,
    )
    kept = References(Lake(str(tmp_path))).keep(made)
    assert kept.centring == centring
    newest = References(Lake(str(tmp_path))).newest("default", "v")
    assert newest is not None
    assert (newest.centring, newest.id) == (centring, centring.id)
    for other in (replace(centring, clusters=()), replace(centring, behaviour=None)):
        assert other.id != centring.id
