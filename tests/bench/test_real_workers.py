"""Tests for bench/real_workers.py: what it tells of runs, by arithmetic."""

from bench.real_workers import NOBODY, account


def _selection(*rows):
    names = ("paired", "refused", "kept", "compared", "own_better")
    return {"workers": [dict(zip(names, row, strict=True)) for row in rows]}


def test_what_was_written_refused_and_kept_is_the_sum_over_seeds_and_writers():
    runs = [
        {"selection": _selection((10, 1, 4, 6, 0.5), (5, 0, 2, 2, 1.0))},
        {"selection": _selection((7, 2, 3, 0, None))},
    ]
    told = account({"itself_strict": runs})
    assert told == {
        "itself_strict": {
            "written": 22,
            "refused": 3,
            "kept": 9,
            "compared": 8,
            "own_better": 0.625,
            "reason_rate": [],
        }
    }


def test_gains_are_over_nobodys_direct_answers_to_the_same_questions():
    direct = [{"selection": _selection(), "never": [0.0, 1.0]} for _ in range(2)]
    reasoned = [
        {"selection": _selection((2, 0, 1, 2, 1.0)), "reason_rate": rate, "auto": [1.0, 1.0]}
        for rate in (0.25, 0.75)
    ]
    told = account({NOBODY: direct, "itself": reasoned})
    assert told[NOBODY]["never"]["over_nobody"]["mean"] == 0
    assert told["itself"]["auto"]["recall@10"] == 1
    assert told["itself"]["auto"]["over_nobody"]["mean"] == 0.5
    assert told["itself"]["reason_rate"] == [0.25, 0.75]
    assert "never" not in told["itself"]
