"""Tests for ponder/reports/run/gate.py."""

import polars as pl

from catalog.lake.tables import EMBEDDINGS, RATIONALES
from ponder.reports.run.gate import probabilities, reasoned_items


def embeddings(*rows):
    """Rows of (item_id, action, gate_probability)."""
    values = [
        {"item_id": i, "content_hash": f"h{i}", "action": action, "gate_probability": p}
        for i, action, p in rows
    ]
    return pl.DataFrame(values, schema={c: EMBEDDINGS.columns[c] for c in values[0]})


def rationales(*rows):
    """Rows of (item_id, content_hash, rationale)."""
    values = [{"item_id": i, "content_hash": h, "rationale": r} for i, h, r in rows]
    return pl.DataFrame(values, schema=RATIONALES.schema)


def test_queries_are_kept_apart_by_tier_and_items_come_last():
    asked = [
        {"tier": "hard", "gate_probability": 0.9},
        {"tier": "easy", "gate_probability": 0.1},
        {"tier": "hard", "gate_probability": 0.8},
    ]
    found = probabilities(embeddings(("a", "direct", 0.25)), asked)
    assert {name: values.tolist() for name, values in found.items()} == {
        "hard": [0.9, 0.8],
        "easy": [0.1],
        "items": [0.25],
    }
    assert list(found) == ["hard", "easy", "items"]


def test_reasoned_items_are_the_surest_with_equals_in_order_of_id():
    rows = embeddings(
        ("c", "reason", 0.5), ("b", "reason", 0.5), ("a", "direct", 0.75), ("d", "reason", 0.75)
    )
    shown = reasoned_items(rows, RATIONALES.empty(), limit=2)
    assert shown["item_id"].to_list() == ["d", "b"]
    assert shown["rationale"].to_list() == [None, None]


def test_a_rationale_of_earlier_content_is_not_shown():
    kept = rationales(("a", "earlier", "of the old title"), ("b", "hb", "of what it is now"))
    shown = reasoned_items(embeddings(("a", "reason", 0.9), ("b", "reason", 0.8)), kept)
    assert shown["rationale"].to_list() == [None, "of what it is now"]
