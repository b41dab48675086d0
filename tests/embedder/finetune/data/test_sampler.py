"""Tests for embedder/finetune/data/sampler.py."""

from collections import Counter

import pytest

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.finetune.data.sampler import BatchSampler, epoch_rows


def pairs(**num_of_source):
    return [
        Pair(Content(), Content(), f"{source}{n}", f"{source}{n}", source=source)
        for source, num in num_of_source.items()
        for n in range(num)
    ]


def keys(batch):
    return [pair.query_key for pair in batch]


def source_at(batches, step):
    """The one source of a step's batch."""
    (source,) = {pair.source for pair in batches.at(step)}
    return source


def test_a_batch_holds_one_source():
    batches = BatchSampler(pairs(a=9, b=6), batch_size=3, seed=0)
    assert {source_at(batches, step) for step in range(30)} == {"a", "b"}


def test_a_source_shows_every_pair_before_it_repeats_one():
    batches = BatchSampler(pairs(a=9, b=6), batch_size=3, seed=0)
    shown = {"a": [], "b": []}
    for step in range(60):
        shown[source_at(batches, step)] += keys(batches.at(step))
    for source, num in (("a", 9), ("b", 6)):
        epochs = [shown[source][i : i + num] for i in range(0, len(shown[source]) - num + 1, num)]
        assert len(epochs) > 2
        assert all(len(set(epoch)) == num for epoch in epochs)
        assert epochs[0] != epochs[1]


def test_a_step_depends_on_the_seed_and_its_number_alone():
    forward = BatchSampler(pairs(a=9, b=6), batch_size=3, seed=0)
    asked_in_order = [keys(forward.at(step)) for step in range(20)]
    restarted = BatchSampler(pairs(a=9, b=6), batch_size=3, seed=0)
    assert keys(restarted.at(17)) == asked_in_order[17]
    assert keys(restarted.at(4)) == asked_in_order[4]
    other_seed = BatchSampler(pairs(a=9, b=6), batch_size=3, seed=1)
    assert [keys(other_seed.at(step)) for step in range(20)] != asked_in_order


def test_the_order_of_the_sources_does_not_matter():
    forward = BatchSampler(pairs(a=4, b=4), batch_size=2, seed=0)
    backward = BatchSampler(pairs(b=4, a=4), batch_size=2, seed=0)
    assert all(keys(forward.at(step)) == keys(backward.at(step)) for step in range(20))


def test_sources_of_one_size_are_shuffled_apart():
    batches = BatchSampler(pairs(a=20, b=20), batch_size=20, seed=0)
    first = {source_at(batches, step): batches.at(step) for step in reversed(range(20))}
    places = [[pair.query_key[1:] for pair in first[source]] for source in "ab"]
    assert places[0] != places[1]


def test_sources_are_drawn_by_their_weights():
    weights = {"a": 3.0, "b": 1.0, "c": 0.0}
    batches = BatchSampler(pairs(a=2, b=2, c=1), batch_size=2, seed=0, source_weights=weights)
    drawn = Counter(source_at(batches, step) for step in range(2000))
    assert drawn["c"] == 0
    # A binomial of 2000 draws at 3/4 has a standard deviation of 19.4; five of them.
    assert abs(drawn["a"] - 1500) < 97


def test_without_weights_a_source_is_drawn_as_often_as_it_has_pairs():
    batches = BatchSampler(pairs(a=6, b=2), batch_size=2, seed=0)
    drawn = Counter(source_at(batches, step) for step in range(2000))
    assert abs(drawn["a"] - 1500) < 97


def test_an_incomplete_last_batch_waits_for_the_next_epoch():
    rows = [epoch_rows(7, 3, number, seed="s") for number in range(4)]
    assert len(set(rows[0] + rows[1])) == 6
    assert all(len(batch) == 3 for batch in rows)
    assert rows[:2] != rows[2:]


def test_a_source_smaller_than_a_batch_is_refused_by_name():
    with pytest.raises(ValueError, match="needs 3 pairs, got 2 of source 'b'; lower batch_size"):
        BatchSampler(pairs(a=9, b=2), batch_size=3, seed=0)


def test_no_pairs_are_refused():
    with pytest.raises(ValueError, match="needs 3 pairs, got 0"):
        BatchSampler([], batch_size=3, seed=0)


def test_weights_must_be_those_of_the_sources_and_not_negative():
    with pytest.raises(ValueError, match=r"\['a', 'b'\], got \['a'\]"):
        BatchSampler(pairs(a=3, b=3), batch_size=3, seed=0, source_weights={"a": 1.0})
    with pytest.raises(ValueError, match=r"must be >= 0, got -1.0 for 'b'"):
        BatchSampler(pairs(a=3, b=3), batch_size=3, seed=0, source_weights={"a": 1.0, "b": -1.0})
