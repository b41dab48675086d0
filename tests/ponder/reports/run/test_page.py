"""Tests for page.py: pages of a lake made by hand, read again with an HTML parser."""

import re
import subprocess
import sys
from datetime import UTC, datetime

import polars as pl

from catalog.lake.tables import EVENTS, ITEMS
from ponder.reports.run.page import write_html
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake
from tests.ponder.reports.run.pages import (
    DASH,
    NOW,
    RANKING,
    Page,
    example,
    page_of,
    put_items,
    put_letter,
    put_rationale,
    put_report,
    queries,
)

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script></style>{{ 7 * 7 }} $\\frac$'


def test_every_section_says_so_when_there_is_nothing_to_show(settings):
    page = page_of(settings)
    expected = {
        "reasoning": "No queries have been asked yet",
        "neighbours": "Nothing is embedded",
        "queries": "No queries have been evaluated yet",
        "gate": "has decided nothing yet",
        "histories": "histories have been evaluated yet",
        "ranking": "No ranker has been trained yet",
        "dead-letters": "None.",
    }
    for section, sentence in expected.items():
        assert sentence in page.sections[section]
    assert list(page.sections) == ["what-ran", *expected, "sources"]
    assert [path.name for path in settings.home.iterdir()] == ["reports"]  # looking makes nothing


def test_what_ran_is_counted_in_the_lake(settings):
    put_items(settings, {"a": [1, 0], "b": [0, 1], "c": [0, 1], "d": [0, 1]}, reasoned={"a"})
    event = dict.fromkeys(EVENTS.columns) | {"event_id": "e", "item_id": "a", "ts": NOW}
    open_lake(settings).insert_new(EVENTS, pl.DataFrame([event], schema=EVENTS.schema))
    gone = {"item_id": "d", "deleted": True, "updated_at": datetime(2027, 1, 1, tzinfo=UTC)}
    row = dict.fromkeys(ITEMS.columns) | {"tags": [], "attributes": "{}"} | gone
    open_lake(settings).upsert_items(pl.DataFrame([row], schema=ITEMS.schema))
    put_letter(settings, 7, stage="decode", reason="not JSON")

    facts = page_of(settings).sections["what-ran"]
    assert "Items 3 and 1 deleted" in facts
    assert "Events 1 " in facts
    assert "Embeddings 3 " in facts
    assert "Reasoned about 33.3 %" in facts
    assert "Dead letters 1 " in facts
    assert f"Model version {configured_version(settings)} Live version none yet" in facts
    assert "Written 2026-05-04 03:02 UTC" in facts


def test_strangers_words_are_shown_and_never_become_markup(settings):
    put_items(settings, {"a": [1, 0], "b": [0, 1]}, titles={"a": HOSTILE}, reasoned={"a"})
    put_rationale(settings, "a", HOSTILE, summary=HOSTILE)
    put_letter(settings, 1, stage="decode", reason=HOSTILE)
    asked = {"text": HOSTILE, "tier": HOSTILE, "action": "reason", "rationale": HOSTILE}
    put_report(
        settings,
        "recall",
        {"queries": queries([example("q", ["a"], [], **asked)], slices=[HOSTILE])},
    )

    page = page_of(settings)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("style") == 2  # the page's and matplotlib's
    assert "script" not in tags
    assert all(src.startswith("data:image/webp;base64,") for src in page.values("src"))
    assert not [name for _, a in page.elements for name in a if name.startswith("on")]
    for section in ("neighbours", "queries", "gate", "dead-letters"):
        assert "<script>alert(2)</script>" in page.sections[section]


def test_the_page_needs_nothing_but_itself(settings):
    put_items(settings, {"a": [1, 0], "b": [0, 1]})
    put_report(settings, "recall", {"queries": queries([example("q", ["a"], ["a"])])})
    put_report(settings, "ranking", RANKING)
    html = write_html(settings, now=NOW).read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", re.sub(r"data:[^\"]*", "", html))
    assert "default-src 'none'" in html
    links = Page(html).values("href")
    assert all(link.startswith("#") for link in links)
    ids = set(Page(html).values("id"))
    assert {link[1:] for link in links} <= ids


def test_equal_lakes_and_reports_give_equal_pages(settings):
    put_items(settings, {"a": [1, 0], "b": [0, 1]})
    put_report(settings, "ranking", RANKING)
    assert write_html(settings, now=NOW).read_bytes() == write_html(settings, now=NOW).read_bytes()


def test_neighbours_are_shown_with_their_cosine(settings):
    put_items(settings, {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.6, 0.8]})
    words = " ".join(page_of(settings).sections["neighbours"].split())
    assert "title of a title of c 0.600 title of b 0.000" in words


def test_an_item_without_an_image_has_a_placeholder_that_says_so(settings):
    put_items(settings, {"a": [1, 0]}, with_image=False)
    page = page_of(settings)
    assert page.values("src") == []
    assert "no image" in page.sections["neighbours"]


def test_right_answers_are_marked_and_no_others(settings):
    put_items(settings, {"a": [1, 0], "b": [0, 1], "c": [0, 1]})
    put_report(settings, "recall", {"queries": queries([example("q", ["a", "b", "c"], ["b"])])})
    page = page_of(settings)
    marked = [
        page.elements[i + 1 :]
        for i, (_, attributes) in enumerate(page.elements)
        if "right" in attributes.get("class", "").split()
    ]
    assert [next(a["title"] for _, a in inside if "title" in a) for inside in marked] == ["b"]
    assert page.sections["queries"].count("✓") == 1
    assert "first right answer at 2" in page.sections["queries"]


def test_a_query_shows_six_of_what_it_found_even_if_the_lake_lost_them(settings):
    found = [f"gone{n}" for n in range(10)]
    put_report(settings, "recall", {"queries": queries([example("q", found, ["x"])])})
    section = page_of(settings).sections["queries"]
    assert section.count("unknown item") == 6
    assert "no right answer in the first 10" in section


def test_metrics_stand_in_the_row_of_their_slice_and_policy(settings):
    put_report(settings, "recall", {"queries": queries([])})
    rows = page_of(settings).rows
    assert ["all 20 queries", "never", "0.001", "0.002", "0.003"] in rows
    assert ["auto", "0.101", "0.102", "0.103"] in rows
    first_cells = [row[0] for row in rows if len(row) == 5]
    assert first_cells == ["Slice", "all 20 queries", "literal 20 queries", "held out 20 queries"]
    assert ["held out 20 queries", "never", "0.011", "0.012", "0.013"] in rows
    assert ["always", "100.0 %", "3.00", "150.0"] in rows  # 3 s for 20 queries


def test_what_the_gate_decided_is_shown_by_the_versions_own_reasoner(settings):
    put_items(settings, {"a": [1, 0], "b": [0, 1]}, reasoned={"a"})
    put_rationale(settings, "a", "somebody else's words", reasoner="other")
    put_rationale(settings, "a", "a lime is green", summary="green things")
    section = page_of(settings).sections["gate"]
    assert "a lime is green" in section
    assert "green things" in section
    assert "somebody else" not in section
    assert "1 of 2" in section  # of the items, in the figure
    assert "p ≥ 0.25" in section


def test_users_next_items_are_compared_with_a_blind_guess(settings):
    metrics = {"hit@1": 0.125, "hit@10": 0.25, "hit@100": 0.5}
    metrics |= {"ndcg@1": 0.125, "ndcg@10": 0.2, "ndcg@100": float("nan")}
    put_report(settings, "recall", {"histories": {"num_users": 9, "num_items": 50, **metrics}})
    rows = page_of(settings).rows
    assert ["10", "0.250", "0.200", "0.200"] in rows
    assert ["100", "0.500", DASH, "1.000"] in rows


def test_numbers_of_another_version_are_called_so(settings):
    old = {"model_version": "tiny-old", "queries": queries([])}
    put_report(settings, "recall", old)
    put_report(settings, "ranking", RANKING)
    sections = page_of(settings).sections
    assert "belong to version tiny-old" in sections["queries"]
    assert "belong to version" not in sections["ranking"]


def test_dead_letters_are_counted_by_stage(settings):
    for offset, stage in enumerate(["decode", "validate", "validate"]):
        put_letter(settings, offset, stage=stage, reason=f"reason {offset}")
    rows = page_of(settings).rows
    assert rows.index(["validate", "2"]) + 1 == rows.index(["decode", "1"])
    assert ["2026-05-04 03:02 UTC", "items:0", "decode", "reason 0"] in rows


def test_an_index_that_another_process_holds_does_not_stop_the_report(settings):
    settings.home.mkdir()
    hold = (
        "import sys; from pymilvus import MilvusClient; MilvusClient(sys.argv[1]);"
        "sys.stdout.write('held\\n'); sys.stdout.flush(); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, settings.milvus_uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        facts = page_of(settings).sections["what-ran"]
        holder.stdin.close()
    assert "Live version none yet" in facts
