"""Tests for evaluation/mteb/costs.py: what is kept of what tasks cost."""

from evaluation.mteb.costs import Cost, CostFile, SideCost


def side_cost(num_contents, num_reasoned=0, seconds=1.0):
    return SideCost(num_contents=num_contents, num_reasoned=num_reasoned, seconds=seconds)


def test_costs_of_a_part_add_up_and_are_kept_at_once(tmp_path):
    costs = CostFile(tmp_path / "of" / "task.json")
    costs.add("test/default", "query", side_cost(3))
    costs.add("test/default", "item", side_cost(5, num_reasoned=1))
    costs.add("test/default", "item", side_cost(3, num_reasoned=1, seconds=2.0))
    expected = Cost(query=side_cost(3), item=side_cost(8, num_reasoned=2, seconds=3.0))
    assert costs.total == expected
    assert CostFile(tmp_path / "of" / "task.json").total == expected
    assert expected.item.reason_rate == 0.25


def test_a_part_that_is_run_again_costs_what_it_cost_then(tmp_path):
    before = CostFile(tmp_path / "task.json")
    before.add("test/en", "item", side_cost(10))
    before.add("test/de", "item", side_cost(4))  # killed half-way
    after = CostFile(tmp_path / "task.json")
    after.add("test/de", "query", side_cost(2))
    after.add("test/de", "item", side_cost(9))
    assert after.total == Cost(query=side_cost(2), item=side_cost(19, seconds=2.0))


def test_what_was_never_encoded_cost_nothing(tmp_path):
    assert CostFile(tmp_path / "none.json").total == Cost()
    assert Cost().query.reason_rate == 0
