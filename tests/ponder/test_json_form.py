"""Tests for ponder/json_form.py: what becomes of values that JSON does not know."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ponder.json_form import json_form, to_json


@dataclass(frozen=True, slots=True)
class Inner:
    """One number."""

    share: float


@dataclass(frozen=True)
class Outer:
    """Everything that results hold."""

    name: str
    parts: tuple[Inner, ...]
    by_part: dict[str, Inner]
    reasons: Counter = field(default_factory=Counter)

    @property
    def num_parts(self):
        """Is no field, so it is left out."""
        return len(self.parts)


def test_a_dataclass_becomes_an_object_of_its_fields_in_order_however_deep():
    value = Outer("a", (Inner(0.5),), {"b": Inner(1.0)}, Counter(media=2))
    plain = json_form(value)
    assert plain == {
        "name": "a",
        "parts": [{"share": 0.5}],
        "by_part": {"b": {"share": 1.0}},
        "reasons": {"media": 2},
    }
    assert list(plain) == ["name", "parts", "by_part", "reasons"]
    assert type(plain["reasons"]) is dict


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.25), 0.25),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        (float("inf"), None),
        (np.array([float("nan")]), [None]),
        (Path("a") / "b", "a/b"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00:00:00+00:00"),
        (frozenset({2, 1}), [1, 2]),
        ({7: "x"}, {"7": "x"}),
        (True, True),
        (None, None),
    ],
)
def test_what_json_does_not_know_becomes_what_it_knows(value, expected):
    assert json_form(value) == expected
    assert type(json_form(value)) is type(expected)
    assert json.loads(to_json(value)) == expected
