"""From ranks to a table: means with intervals, by candidates and by kind of question.

Shape legend: Q = questions
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.films_measure import Scores, gain, mean, metrics, ranks
from bench.films_split import Questions
from evaluation.bootstrap import Interval

BASELINE = "nano"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """Something that answers questions."""

    scores: Scores

    questions: Questions
    """As it is asked them; who asks and what is right are those of all entries."""


def measured(
    entries: Mapping[str, Entry],
    candidates: Mapping[str, np.ndarray],
    slices: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Return metrics of every entry on every slice of the questions that the candidates can answer.

    Args:
        entries: by name; one is the `BASELINE`.
        candidates: [films] by name, whether a film may be recommended.
        slices: [Q] by name, whether a question belongs to the slice.

    Returns:
        candidates -> slice -> `num_questions`, `num_users` and `by` entry: `hit@10` and `ndcg@10`,
        each with its 95 % interval, and `gain`, the same of the difference to the baseline. A slice
        without questions is absent.
    """
    questions = next(iter(entries.values())).questions
    users = np.array(questions.users)
    found = {name: ranks(one.scores, one.questions, candidates) for name, one in entries.items()}
    report: dict[str, Any] = {}
    for name, candidate_N in candidates.items():
        rank_of = {entry: ranks_by[name] for entry, ranks_by in found.items()}
        asked = {part: in_Q & candidate_N[questions.answers] for part, in_Q in slices.items()}
        report[name] = {
            part: _sliced({entry: rank_Q[in_Q] for entry, rank_Q in rank_of.items()}, users[in_Q])
            for part, in_Q in asked.items()
            if in_Q.any()
        }
    return report


def _sliced(rank_of: Mapping[str, np.ndarray], users: np.ndarray) -> dict[str, Any]:
    values = {name: metrics(rank_Q) for name, rank_Q in rank_of.items()}
    by: dict[str, Any] = {}
    for name, found in values.items():
        by[name] = {metric: _rounded(mean(value_Q, users)) for metric, value_Q in found.items()}
        by[name]["gain"] = {
            metric: _rounded(gain(value_Q, values[BASELINE][metric], users))
            for metric, value_Q in found.items()
        }
    return {"num_questions": len(users), "num_users": len(set(users)), "by": by}


def _rounded(interval: Interval) -> list[float]:
    return [round(number, 4) for number in (interval.mean, interval.low, interval.high)]


def table(report: Mapping[str, Any]) -> str:
    """Return the report in Markdown, a row for each entry; intervals in brackets."""
    lines = []
    for candidates, slices in report.items():
        for part, found in slices.items():
            lines += [
                f"\n{candidates}, {part}: {found['num_questions']} questions of "
                f"{found['num_users']} users\n",
                "| by | HR@10 | NDCG@10 | HR@10 above nano |",
                "|---|---|---|---|",
            ]
            lines += [
                f"| {name} | {_cell(row['hit@10'])} | {_cell(row['ndcg@10'])} "
                f"| {_cell(row['gain']['hit@10'])} |"
                for name, row in found["by"].items()
            ]
    return "\n".join(lines)


def _cell(interval: list[float]) -> str:
    mean, low, high = interval
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
