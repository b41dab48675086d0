"""What a training on films may know, and what it is asked afterwards.

One cut serves both questions, so that one training answers both without having seen an answer:

- `next_films`: of two films that a user liked one after the other, both after the moment `at`, the
  first asks for the second;
- `last_films`: every user's last rated film with a poster is held out, and the films that they
  liked before ask for it.

Learnt from is what was liked before `at`, save the held-out film of every user and whatever that
user did after it. Questions thus come after all that was learnt from the same user, and nothing of
anyone is learnt from after `at`.

Shape legend: Q = questions
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from bench.films_data import Films
from evaluation.leave_last_out import leave_last_out
from features.histories import HistoryConfig, positive_events

ANY_RATING = HistoryConfig(min_rating=0.0)
"""The floors of the data set hold out the last film that was rated, liked or not."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked; films are rows of `Films`."""

    users: list[str]
    """[Q] who asks; one user's questions are not independent."""

    histories: list[list[int]]
    """[Q] the liked films that ask, newest first."""

    answers: np.ndarray
    """[Q] the film that is to be found."""

    left_out: list[list[int]]
    """[Q] films that cannot be the answer: those that were rated before, or the asking one."""

    is_liked: np.ndarray
    """[Q] whether the answer was liked, and not only watched."""


@dataclass(frozen=True, slots=True)
class Split:
    """A cut through the log."""

    at: datetime
    known: pl.DataFrame
    """Ratings that a training may learn from."""

    rated: pl.DataFrame
    """All ratings but each user's held-out film and what came after it. The floors of the data
    set's README learn from these, so from more than `known`."""

    next_films: Questions
    last_films: Questions

    @property
    def likes(self) -> pl.DataFrame:
        """The ratings among the known that speak for their film."""
        return likes(self.known)


def likes(events: pl.DataFrame) -> pl.DataFrame:
    """Return the ratings that speak for their film, as recall and features count them."""
    return positive_events(events, config=HistoryConfig())


def split(films: Films, events: pl.DataFrame, *, share: float = 0.9) -> Split:
    """Return the cut after a share of the likes.

    Args:
        films: the catalogue.
        events: all ratings, or those that an outer cut leaves to learn from.
        share: of the likes in `events` that come before `at`.
    """
    at = likes(events)["ts"].sort()[int(share * len(likes(events)))]
    rated, held_out = leave_last_out(
        events, candidate_items=films.ids("poster"), history=ANY_RATING
    )
    return Split(
        at=at,
        known=rated.filter(pl.col("ts") < at),
        rated=rated,
        next_films=_next_films(films, likes(events.filter(pl.col("ts") >= at))),
        last_films=_last_films(films, rated, events, held_out),
    )


def _next_films(films: Films, later: pl.DataFrame) -> Questions:
    row_of = films.row_of
    pairs = (
        later.sort("user_id", "ts", "item_id")
        .with_columns(answer=pl.col("item_id").shift(-1).over("user_id"))
        .drop_nulls("answer")
    )
    asking = [row_of[item] for item in pairs["item_id"]]
    return Questions(
        users=pairs["user_id"].to_list(),
        histories=[[row] for row in asking],
        answers=np.array([row_of[item] for item in pairs["answer"]]),
        left_out=[[row] for row in asking],
        is_liked=np.ones(len(pairs), dtype=bool),
    )


def _last_films(
    films: Films, rated: pl.DataFrame, events: pl.DataFrame, held_out: pl.DataFrame
) -> Questions:
    row_of = films.row_of
    seen = _films_of(rated, row_of)
    liked = _films_of(likes(rated), row_of)
    users = held_out["user_id"].to_list()
    was_liked = held_out.join(likes(events), on=["user_id", "item_id", "ts"], how="semi")
    return Questions(
        users=users,
        histories=[liked.get(user, []) for user in users],
        answers=np.array([row_of[item] for item in held_out["item_id"]]),
        left_out=[seen.get(user, []) for user in users],
        is_liked=held_out["user_id"].is_in(was_liked["user_id"].implode()).to_numpy(),
    )


def _films_of(events: pl.DataFrame, row_of: dict[str, int]) -> dict[str, list[int]]:
    """Return by user the films of their ratings, newest first, as the recall service has them."""
    newest_first = events.sort(["ts", "item_id"], descending=[True, False])
    films = newest_first.group_by("user_id", maintain_order=True).agg(
        pl.col("item_id").unique(maintain_order=True)
    )
    return {user: [row_of[item] for item in items] for user, items in films.iter_rows()}
