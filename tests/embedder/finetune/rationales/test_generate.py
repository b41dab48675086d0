"""Tests for generate.py: who is asked what, how often, and never of a pair."""

import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.tables import GENERATED_RATIONALES
from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.finetune.rationales.generate import (
    CHUNK,
    ScriptedWorker,
    contents_of,
    write_rationales,
)
from embedder.reasoners.cache import content_key
from embedder.reasoners.reasoner import NoRationale, Rationale, ReasonerOutage

NOTHING = GENERATED_RATIONALES.empty()
PAIRS = [
    Pair(Content(f"query {n}"), Content(f"target {n}", b"image"), f"q{n}", f"t{n}", f"p{n}")
    for n in range(2 * CHUNK + 7)
]
QUERIES = contents_of(PAIRS, "query")


class Spy:
    """A worker that remembers what it was shown, and can be killed or fail on the way."""

    prompt_version = "1"

    def __init__(self, name="spy", *, dies_at=None, fails=None, down_from=None):
        self.name, self.shown = name, []
        self._dies_at, self._fails, self._down_from = dies_at, fails, down_from

    def reason(self, contents, side):
        if self._dies_at is not None and len(self.shown) >= self._dies_at:
            raise KeyboardInterrupt
        outcomes = []
        for content in contents:
            self.shown.append((content, side))
            if self._down_from is not None and len(self.shown) > self._down_from:
                outcomes.append(NoRationale("HTTP 503", is_outage=True))
            elif content.text == self._fails:
                outcomes.append(NoRationale("the image cannot be read"))
            else:
                outcomes.append(Rationale(f"{self.name} on {content.text}", content.text, 4))
        return outcomes


def written_by(workers, contents=QUERIES, side="query", before=NOTHING):
    """Everything written so far, and the exception that ended it if there was one."""
    frames, error = [before], None
    try:
        write_rationales(contents, side, workers, written=before, append=frames.append)
    except (KeyboardInterrupt, ReasonerOutage) as raised:
        error = raised
    return pl.concat(frames), error


def test_a_worker_is_shown_one_content_of_its_side_and_never_its_partner():
    spy = Spy()
    for side in ("query", "item"):
        written_by([spy], contents_of(PAIRS, side), side)
    shown = {
        side: [content for content, where in spy.shown if where == side]
        for side in ("query", "item")
    }
    assert shown["query"] == [pair.query for pair in PAIRS]
    assert shown["item"] == [pair.target for pair in PAIRS]
    for content, side in spy.shown:
        partner = "target" if side == "query" else "query"
        assert partner not in content.text


def test_a_content_of_several_pairs_is_asked_about_once():
    again = [*PAIRS[:3], *PAIRS[:3]]
    assert contents_of(again, "query") == [pair.query for pair in PAIRS[:3]]


def test_a_content_that_stands_on_both_sides_is_asked_about_on_both():
    rows, _ = written_by([Spy()], QUERIES[:1], "query")
    rows, _ = written_by([Spy()], QUERIES[:1], "item", before=rows)
    assert rows["side"].to_list() == ["query", "item"]


def test_rows_say_what_was_written_about_what_by_whom():
    rows, _ = written_by([Spy(fails="query 1")], QUERIES[:2])
    assert rows.schema == GENERATED_RATIONALES.schema
    assert rows.rows() == [
        (content_key(QUERIES[0]), "query", "spy", "1", "spy on query 0", "query 0", 4, None),
        (
            content_key(QUERIES[1]),
            "query",
            "spy",
            "1",
            None,
            None,
            None,
            "the image cannot be read",
        ),
    ]


def test_a_killed_run_goes_on_and_ends_with_what_one_run_gives():
    half, error = written_by([Spy("a"), Spy("b", dies_at=CHUNK)])
    assert isinstance(error, KeyboardInterrupt)
    resumed = [Spy("a"), Spy("b")]
    all_rows, error = written_by(resumed, before=half)
    at_once, _ = written_by([Spy("a"), Spy("b")])
    assert error is None
    assert all_rows.sort(GENERATED_RATIONALES.key).equals(at_once.sort(GENERATED_RATIONALES.key))
    assert [len(worker.shown) for worker in resumed] == [0, len(QUERIES) - CHUNK]


def test_a_killed_run_goes_on_from_the_lake(tmp_path):
    lake = Lake(str(tmp_path))
    for workers in ([Spy("a", dies_at=CHUNK)], [Spy("a")], [Spy("a")]):
        try:
            write_rationales(
                QUERIES,
                "query",
                workers,
                written=lake.read(GENERATED_RATIONALES),
                append=lambda rows: lake.insert_new(GENERATED_RATIONALES, rows),
            )
        except KeyboardInterrupt:
            assert lake.read(GENERATED_RATIONALES).height == CHUNK
    assert workers[0].shown == []
    assert lake.read(GENERATED_RATIONALES).schema == GENERATED_RATIONALES.schema
    assert set(lake.read(GENERATED_RATIONALES)["key"]) == {content_key(query) for query in QUERIES}


def test_a_failure_is_not_asked_again_and_an_outage_is():
    contents = QUERIES[:5]
    rows, error = written_by([Spy("down", down_from=2), Spy("up", fails="query 3")], contents)
    assert isinstance(error, ReasonerOutage)
    assert "down: HTTP 503" in str(error)
    assert rows.group_by("worker").len().sort("worker").rows() == [("down", 2), ("up", 5)]
    again = [Spy("down"), Spy("up")]
    rows, error = written_by(again, contents, before=rows)
    assert error is None
    assert [len(worker.shown) for worker in again] == [3, 0]


def test_workers_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="different seeds"):
        written_by([Spy("a"), Spy("a")])


def test_a_scripted_worker_says_what_it_was_given():
    mugs = Content("mugs")
    worker = ScriptedWorker({content_key(mugs): Rationale("r", "s")}, name="script")
    said, nothing = worker.reason([mugs, Content("hats")], "query")
    assert said == Rationale("r", "s")
    assert isinstance(nothing, NoRationale)
