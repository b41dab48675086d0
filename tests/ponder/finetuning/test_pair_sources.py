"""Tests for ponder/finetuning/pair_sources.py: what is learned lies before what is asked."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.tables import ITEMS
from ponder.finetuning.given import read_searches, read_wordings
from ponder.finetuning.pair_sources import later_queries, split_moment, training_rows

START = datetime(2026, 3, 1, tzinfo=UTC)
NO_SEARCHES = pl.DataFrame(schema={"request_id": pl.String, "text": pl.String})


def likes(*rows):
    """user, item, hours after the start."""
    return pl.DataFrame(
        [
            {
                "event_id": f"{user}{item}{hours}",
                "request_id": f"{user}{item}",
                "user_id": user,
                "item_id": item,
                "ts": START + timedelta(hours=hours),
            }
            for user, item, hours in rows
        ],
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )


def rows_of(positives, **options):
    defaults = {"before": START + timedelta(hours=5), "searches": NO_SEARCHES, "wordings": ()}
    defaults |= {"items": ITEMS.empty(), "sources": (), "max_pairs": 100, "seed": 0}
    options = defaults | options
    return training_rows(options.pop("items"), positives, **options)


def test_the_last_tenth_of_the_positives_is_kept_unless_a_moment_is_named():
    positives = likes(*[("u", "a", hours) for hours in range(20)])
    assert split_moment(positives, "") == START + timedelta(hours=18)
    assert split_moment(positives, "2026-03-01T05:00:00Z") == START + timedelta(hours=5)
    assert split_moment(positives.clear(), "") is None


def test_nothing_is_learned_from_what_comes_after_the_split():
    positives = likes(("u", "a", 1), ("u", "b", 2), ("u", "c", 6), ("v", "c", 7), ("v", "d", 8))
    learned = rows_of(positives).filter(pl.col("source") == "consecutive")
    assert learned.select("query_item", "target_item").rows() == [("a", "b")]
    asked = later_queries(positives, since=START + timedelta(hours=5), max_queries=9, seed=0)
    assert [(query.item, query.relevant) for query in asked] == [("c", ["d"])]


def test_an_item_asks_once_for_all_that_followed_it():
    positives = likes(("u", "a", 1), ("u", "c", 2), ("v", "a", 3), ("v", "b", 4))
    asked = later_queries(positives, since=START, max_queries=9, seed=0)
    assert [(query.item, query.relevant) for query in asked] == [("a", ["b", "c"])]
    assert later_queries(positives, since=START + timedelta(days=9), max_queries=9, seed=0) == []


def test_what_was_searched_and_then_taken_is_a_pair(tmp_path):
    (tmp_path / "searches.jsonl").write_text('{"request_id": "ua", "text": "red mugs"}\n')
    learned = rows_of(likes(("u", "a", 1)), searches=read_searches(tmp_path))
    assert learned.select("source", "query_text", "target_item").rows() == [
        ("search", "red mugs", "a")
    ]
    assert read_searches(tmp_path / "nowhere").is_empty()


def test_only_the_sources_that_are_named_are_learned_from():
    positives = likes(("u", "a", 1), ("u", "b", 2), ("v", "a", 1), ("v", "b", 2))
    assert set(rows_of(positives)["source"]) == {"consecutive", "co_consumption"}
    assert set(rows_of(positives, sources=("consecutive", "search"))["source"]) == {"consecutive"}


def coloured(*colours):
    """Items 0, 1, ... of these colours."""
    rows = [
        {
            "item_id": str(n),
            "category": "mugs",
            "attributes": f'{{"color": "{c}"}}',
            "deleted": False,
        }
        for n, c in enumerate(colours)
    ]
    return pl.DataFrame(rows, schema_overrides=ITEMS.schema).match_to_schema(
        ITEMS.schema, missing_columns="insert"
    )


def test_every_line_of_wordings_is_a_source_that_asks_by_attributes(tmp_path):
    (tmp_path / "wordings.txt").write_text("{color} {category}\n\nin {color}\n in {color} \n")
    wordings = read_wordings(tmp_path)
    learned = rows_of(likes(), items=coloured("red", "blue"), wordings=wordings, before=None)
    assert learned.select("source", "query_text", "target_item").rows() == [
        ("attributes {color} {category}", "blue mugs", "1"),
        ("attributes {color} {category}", "red mugs", "0"),
        ("attributes in {color}", "in blue", "1"),
        ("attributes in {color}", "in red", "0"),
    ]
    assert read_wordings(tmp_path / "nowhere") == []


def test_a_wording_of_what_no_item_has_is_refused():
    with pytest.raises(ValueError, match=r"got '\{colour\}', and no item has all of these"):
        rows_of(likes(), items=coloured("red"), wordings=["{colour}"])


def test_of_a_source_with_too_many_pairs_the_same_ones_are_drawn():
    positives = likes(*[("u", f"{number:02d}", number / 10) for number in range(40)])
    drawn = [rows_of(positives, max_pairs=7, seed=seed)["pair_id"].to_list() for seed in (0, 0, 1)]
    assert len(drawn[0]) == 7
    assert drawn[0] == drawn[1] != drawn[2]
