"""Tests for bench/films*.py: the cut and what it hides, ranks by brute force, rivals by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from bench.films import check_settings, slices
from bench.films_data import Films, read_films
from bench.films_measure import blended, by_vectors, gain, mean, metrics, ranks
from bench.films_report import Entry, measured
from bench.films_rivals import equal_weights, item_knn, popularity, profile_weights
from bench.films_run import RECIPE, write_known
from bench.films_split import Questions, likes, split
from catalog.bazaar.drawing import png
from embedder.content import Content
from evaluation.exact_ranking import rank_all
from features.profile import profile_vector
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.stages import run_stage
from ponder.settings import Settings

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "movielens_posters"
POSTER = png(Image.new("RGB", (32, 48), "red"))
START = datetime(2020, 1, 1, tzinfo=UTC)


def events(*rows):
    """From (user, film, stars, day)."""
    return pl.DataFrame(
        [(u, f, "rating", float(stars), START + timedelta(days=day)) for u, f, stars, day in rows],
        schema=["user_id", "item_id", "action", "value", "ts"],
        orient="row",
    ).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


def films(rows, *, item_ids="abcdefgh", with_poster="abcdefg"):
    has_poster = np.array([item in with_poster for item in item_ids])
    return Films(
        item_ids=list(item_ids),
        titles=[f"film {item}" for item in item_ids],
        contents=[
            Content(f"film {item}", POSTER if p else None)
            for item, p in zip(item_ids, has_poster, strict=True)
        ],
        events=rows,
        candidates={"all": np.ones(len(item_ids), bool), "poster": has_poster},
    )


@pytest.fixture
def log():
    """Ten likes, one of them after the ninth tenth; u's last film has no poster, v's was bad."""
    return events(
        ("u", "a", 5, 0), ("u", "b", 4, 1), ("u", "c", 2, 2), ("u", "d", 5, 3), ("u", "h", 5, 4),
        ("v", "a", 4, 0), ("v", "b", 5, 2), ("v", "e", 1, 6),
        ("w", "b", 5, 5), ("w", "c", 5, 7), ("w", "a", 4, 8), ("w", "f", 4, 9),
    )  # fmt: skip


def keys(frame):
    return set(frame.select("user_id", "item_id").iter_rows())


def test_the_cut_leaves_what_was_liked_before_it_and_before_the_held_out_film(log):
    # Likes by day: 0 0 1 2 3 4 5 7 8 9; half of them lie before day 4.
    parts = split(films(log), log, share=0.5)
    assert parts.at == START + timedelta(days=4)
    # u's held-out film is d: h, without a poster, comes later and is dropped with it.
    assert keys(parts.likes) == {("u", "a"), ("u", "b"), ("v", "a"), ("v", "b")}
    assert keys(parts.known) == keys(parts.likes) | {("u", "c")}
    assert keys(parts.rated) == keys(log) - {("u", "d"), ("u", "h"), ("v", "e"), ("w", "f")}


def test_last_films_are_asked_for_by_the_likes_before_them_newest_first(log):
    asked = split(films(log), log, share=0.5).last_films
    assert asked.users == ["u", "v", "w"]
    assert asked.answers.tolist() == [3, 4, 5]  # d, e, f
    assert asked.histories == [[1, 0], [1, 0], [0, 2, 1]]
    assert asked.left_out == [[2, 1, 0], [1, 0], [0, 2, 1]]
    assert asked.is_liked.tolist() == [True, False, True]


def test_next_films_are_pairs_of_likes_after_the_cut(log):
    asked = split(films(log), log, share=0.5).next_films
    pairs = list(zip(asked.users, asked.histories, asked.answers.tolist(), strict=True))
    assert pairs == [("w", [1], 2), ("w", [2], 0), ("w", [0], 5)]
    assert asked.left_out == asked.histories


def test_an_inner_cut_asks_only_about_what_the_outer_one_lets_a_training_know(log):
    outer = split(films(log), log, share=0.7)
    inner = split(films(log), outer.known, share=0.5)
    known = {(user, "abcdefgh".index(item)) for user, item in keys(outer.known)}
    for asked in (inner.next_films, inner.last_films):
        assert set(zip(asked.users, asked.answers.tolist(), strict=True)) <= known
    assert keys(inner.likes) < keys(outer.likes)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/movielens_posters")
def test_no_answer_and_nothing_after_it_is_learnt_from():
    catalogue = read_films(DATA)
    parts = split(catalogue, catalogue.events)
    assert len(parts.last_films.users) == 610
    assert int(catalogue.candidates["poster"].sum()) == 6304
    assert int(catalogue.candidates["trusted"].sum()) == 4888
    assert parts.known["ts"].max() < parts.at
    learnt = keys(parts.known)
    for asked in (parts.last_films, parts.next_films):
        answers = [catalogue.item_ids[row] for row in asked.answers]
        assert learnt.isdisjoint(zip(asked.users, answers, strict=True))
    held = pl.DataFrame(
        {
            "user_id": parts.last_films.users,
            "item_id": [catalogue.item_ids[row] for row in parts.last_films.answers],
        }
    ).join(catalogue.events, on=["user_id", "item_id"])
    latest = parts.known.group_by("user_id").agg(pl.col("ts").max().alias("latest"))
    assert held.join(latest, on="user_id").filter(pl.col("latest") > pl.col("ts")).is_empty()


def pairs_of(catalogue, parts, folder):
    """What a run on films learns from, a pair being enough for a batch."""
    write_known(catalogue, parts, folder / "data")
    changes = {"data": str(folder / "data"), "before": parts.at.isoformat(), "joint.batch_size": 1}
    run = Run.open(Settings(home=folder), configured(changes, recipe=RECIPE), folder / "run")
    run_stage(run, "pairs")
    return run.pairs


def test_pairs_to_train_on_name_no_film_that_was_not_liked_before_the_cut(log, tmp_path):
    parts = split(films(log), log, share=0.5)
    pairs = pairs_of(films(log), parts, tmp_path)
    assert {"title_image", "consecutive", "co_consumption"} >= {pair.source for pair in pairs}
    assert {pair.target_key for pair in pairs} == {"a", "b"}
    assert {pair.query.text for pair in pairs} == {"film a", "film b"}


def questions(num, num_films, rng):
    picks = [rng.permutation(num_films) for _ in range(num)]
    return Questions(
        users=[f"u{n % 7}" for n in range(num)],
        histories=[row[1:4].tolist() for row in picks],
        answers=np.array([row[0] for row in picks]),
        left_out=[row[1:6].tolist() for row in picks],
        is_liked=np.ones(num, bool),
    )


def test_ranks_are_those_of_the_recall_package_brute_force_with_ties_by_id():
    rng = np.random.default_rng(0)
    asked = questions(200, 30, rng)
    item_ND = rng.integers(-1, 2, (30, 3)).astype(np.float32)  # many equal films
    item_ND[:, 0] = 1
    item_ND /= np.linalg.norm(item_ND, axis=1, keepdims=True)
    candidate_N = rng.random(30) < 0.7
    profiles = np.stack([profile_vector(item_ND[h], half_life=10.0) for h in asked.histories])
    ids = [f"{n:02d}" for n in range(30)]
    unwanted = {ids[n] for n in np.flatnonzero(~candidate_N)}
    order = rank_all(
        profiles, item_ND, ids, top_k=30,
        exclude=[unwanted | {ids[n] for n in rows} for rows in asked.left_out],
    )  # fmt: skip
    expected = [
        row.index(ids[answer]) + 1 if candidate_N[answer] else np.inf
        for row, answer in zip(order, asked.answers, strict=True)
    ]
    found = ranks(by_vectors(item_ND), asked, {"some": candidate_N, "all": np.ones(30, bool)})
    np.testing.assert_array_equal(found["some"], expected)
    assert (found["all"] >= 1).all()
    assert (found["all"] <= 25).all()  # of 30, five are left out


def test_a_question_without_history_is_not_answered():
    rng = np.random.default_rng(0)
    asked = replace(questions(3, 10, rng), histories=[[1], [], [2]])
    everything = {"all": np.ones(10, bool)}
    rank_Q = ranks(lambda histories: np.zeros((len(histories), 10)), asked, everything)["all"]
    assert np.isinf(rank_Q).tolist() == [False, True, False]
    assert metrics(rank_Q)["hit@10"][1] == metrics(rank_Q)["ndcg@10"][1] == 0


def test_metrics_of_ranks():
    found = metrics(np.array([1, 3, 10, 11, np.inf]))
    np.testing.assert_array_equal(found["hit@10"], [1, 1, 1, 0, 0])
    np.testing.assert_allclose(found["ndcg@10"], [1, 0.5, 1 / np.log2(11), 0, 0])


def test_queries_may_be_read_otherwise_than_items():
    item_ND, query_ND = np.eye(3), np.eye(3)[[1, 2, 0]]
    np.testing.assert_allclose(by_vectors(item_ND, query_ND)([[0]]), [[0, 1, 0]])


def test_intervals_draw_whole_users():
    users = np.array(["u"] * 50 + ["v"] * 50)
    value_Q = np.repeat([0.0, 1.0], 50)
    # Two users that are each all alike: a resample is 0, 1/2 or 1, however many questions.
    assert (mean(value_Q, users).low, mean(value_Q, users).high) == (0.0, 1.0)
    assert gain(value_Q, value_Q - 0.25, users).low == gain(value_Q, value_Q - 0.25, users).high


def test_popularity_counts_users_whoever_asks(log):
    scores = popularity(films(log), log)([[0], [5, 1]])
    np.testing.assert_array_equal(scores, [[3, 3, 2, 1, 1, 1, 0, 1]] * 2)


@pytest.mark.parametrize("weights", [equal_weights, profile_weights])
def test_item_knn_is_the_weighted_sum_of_cosines(log, weights):
    rated = np.zeros((3, 8))
    for user, film in keys(log):
        rated["uvw".index(user), "abcdefgh".index(film)] = 1
    norm = np.maximum(np.linalg.norm(rated, axis=0), 1)
    cosine = rated.T @ rated / np.outer(norm, norm)
    np.fill_diagonal(cosine, 0)
    histories = [[0, 3], [6], [2, 1, 7]]
    expected = [weights(len(history)) @ cosine[history] for history in histories]
    np.testing.assert_allclose(item_knn(films(log), log, weights=weights)(histories), expected)


def test_profile_weights_are_those_of_the_recall_service():
    vectors = np.eye(60)
    expected = profile_vector(vectors[:50], half_life=10.0)  # it looks 50 films back
    found = profile_weights(60)
    np.testing.assert_allclose(found / np.linalg.norm(found), expected, atol=1e-6)
    assert found.sum() == pytest.approx(1)


def test_a_blend_adds_weighted_scores():
    one, other = (
        lambda histories, v=value: np.full((len(histories), 2), v) for value in (1.0, 3.0)
    )
    np.testing.assert_allclose(blended(one, other, weight=0.5)([[0]]), [[2.5, 2.5]])


def test_the_report_compares_with_nano_by_slice(log):
    catalogue = films(log)
    parts = split(catalogue, log, share=0.5)
    right = by_vectors(np.eye(8), np.eye(8)[[5, 2, 0, 0, 0, 0, 0, 0]])  # answers all of w's pairs
    entries = {
        "nano": Entry(lambda histories: np.full((len(histories), 8), 0.0), parts.next_films),
        "right": Entry(right, parts.next_films),
    }
    kinds = slices(catalogue, parts, parts.next_films)
    # c, a, f are the answers; before the cut a was liked, c was not, f not even seen.
    assert {name: in_Q.tolist() for name, in_Q in kinds.items()} == {
        "all": [True] * 3,
        "warm": [False, True, False],
        "cold": [True, False, True],
    }
    report = measured(entries, catalogue.candidates, kinds)["all"]
    assert report["cold"]["num_questions"] == 2
    assert report["all"]["by"]["right"]["ndcg@10"] == [1.0, 1.0, 1.0]
    # Nano ties on all: seven candidates by id, so c is second, a first, f fifth.
    expected = np.mean([1 / np.log2(3), 1, 1 / np.log2(6)])
    assert report["all"]["by"]["nano"]["ndcg@10"][0] == round(expected, 4)
    assert report["all"]["by"]["right"]["gain"]["ndcg@10"][0] == pytest.approx(
        1 - expected, abs=1e-4
    )


def test_a_folder_goes_on_with_its_settings_alone(tmp_path):
    check_settings(tmp_path, {"steps": 3})
    check_settings(tmp_path, {"steps": 3})
    with pytest.raises(ValueError, match="choose another folder"):
        check_settings(tmp_path, {"steps": 4})


def test_likes_are_ratings_from_three_and_a_half():
    rows = events(("u", "a", 3, 0), ("u", "b", 3.5, 1))
    assert keys(likes(rows)) == {("u", "b")}


def test_every_source_of_pairs_has_a_weight(log, tmp_path):
    sources = {pair.source for pair in pairs_of(films(log), split(films(log), log), tmp_path)}
    assert sources == set(configured(recipe=RECIPE).joint.source_weights)
