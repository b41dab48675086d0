"""Whether an embedder knows what film texts are about: a film's other plot, and cold films.

    python -m bench.film_texts --data FOLDER --model MODEL

`--data` is the data set `movielens_posters`, `--model` any embedder. Nothing is trained. Two
questions, which TF-IDF over the same texts is asked as well:

- *plot*: 981 films were described twice. TMDB's plot asks for OMDb's among all 981. An embedder is
  asked once more with the films' posters beside what is looked for, as items have them.
- *cold*: of the films with a poster that five users or more liked a fifth is taken out. Who liked
  what of the rest is factorised; a ridge regression leads from texts to factors, its penalty chosen
  on films that it does not learn from; and what every user liked is looked for among the films that
  were taken out.

Shape legend: F = films, U = users, D = numbers of a vector, K = factors
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds
from sklearn.feature_extraction.text import TfidfVectorizer

from bench.films_data import Films, read_films
from bench.films_split import likes
from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig
from ponder.wiring.encoder import open_model

K = 10
NUM_FACTORS = 32
MIN_LIKES = 5
COLD_SHARE = 5  # one film in so many is taken out
PENALTIES = tuple(10.0**power for power in range(-2, 4))

Vectors = Callable[[Sequence[str]], np.ndarray]
"""From texts to [F, D] rows of length 1."""


def told_twice(folder: Path) -> tuple[list[str], list[str]]:
    """Return TMDB's and OMDb's plots of the films that have both, and not the same."""
    items = pl.read_parquet(folder / "items.parquet")
    both = items.filter(pl.col("plot_tmdb") != pl.col("plot_omdb"))  # null where either is missing
    return both["plot_tmdb"].to_list(), both["plot_omdb"].to_list()


def posters_of_told_twice(folder: Path) -> list[bytes | None]:
    """Return the posters of the same films, in the same order; None for none."""
    items = pl.read_parquet(folder / "items.parquet")
    both = items.filter(pl.col("plot_tmdb") != pl.col("plot_omdb")).select("item_id")
    images = pl.read_parquet(folder / "images.parquet", columns=["item_id", "image"])
    return both.join(images, on="item_id", how="left", maintain_order="left")["image"].to_list()


def recall_of_own(asking_FD: np.ndarray, asked_FD: np.ndarray, k: int) -> float:
    """Return the share of rows whose own counterpart is among the k of the largest product.

    Equal ones count as if they stood before it.
    """
    score_FF = asking_FD @ asked_FD.T
    rank_F = (score_FF >= score_FF.diagonal()[:, None]).sum(axis=1)
    return float((rank_F <= k).mean())


def cold_precision(films: Films, vector_FD: np.ndarray, *, seed: int) -> dict[str, float]:
    """Return precision@10 and AUC over users, of films of which no like is known.

    Args:
        films: the catalogue and its ratings.
        vector_FD: of all films.
        seed: which films are taken out.
    """
    liked_UF = liked_matrix(films)
    usable_F = films.candidates["poster"] & (liked_UF.sum(axis=0) >= MIN_LIKES)
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(usable_F))
    cold, warm = np.split(shuffled, [len(shuffled) // COLD_SHARE])
    user_UK, size_K, film_KF = svds(
        csr_matrix(liked_UF[:, warm]), k=NUM_FACTORS, rng=np.random.default_rng(seed)
    )
    factor_FK = (film_KF * size_K[:, None]).T
    mean_D = vector_FD[warm].mean(axis=0)
    weight_DK = best_ridge(vector_FD[warm] - mean_D, factor_FK - factor_FK.mean(axis=0))
    predicted_FK = (vector_FD[cold] - mean_D) @ weight_DK + factor_FK.mean(axis=0)
    return ranked(user_UK @ predicted_FK.T, liked_UF[:, cold])


def liked_matrix(films: Films) -> np.ndarray:
    """Return [U, F] 1 where a user liked a film; users who like nothing are left out."""
    liked = likes(films.events)
    users = liked["user_id"].unique().sort().to_list()
    row_of, column_of = {user: row for row, user in enumerate(users)}, films.row_of
    matrix_UF = np.zeros((len(users), len(films.item_ids)), dtype=np.float32)
    for user, film in liked.select("user_id", "item_id").iter_rows():
        matrix_UF[row_of[user], column_of[film]] = 1
    return matrix_UF


def best_ridge(input_FD: np.ndarray, target_FK: np.ndarray) -> np.ndarray:
    """Return [D, K] weights by the penalty that predicts the last fifth of the films best."""
    learned = len(input_FD) - len(input_FD) // 5

    def error(penalty: float) -> float:
        weight_DK = ridge(input_FD[:learned], target_FK[:learned], penalty)
        return float(((input_FD[learned:] @ weight_DK - target_FK[learned:]) ** 2).sum())

    return ridge(input_FD, target_FK, min(PENALTIES, key=error))


def ridge(input_FD: np.ndarray, target_FK: np.ndarray, penalty: float) -> np.ndarray:
    """Return [D, K] weights of the least squares with a penalty on their squares.

    Of more numbers than films the films' products are solved for, which is the same and smaller.
    """
    num_films, num_values = input_FD.shape
    if num_values > num_films:
        gram_FF = input_FD @ input_FD.T + penalty * np.eye(num_films)
        return input_FD.T @ np.linalg.solve(gram_FF, target_FK)
    gram_DD = input_FD.T @ input_FD + penalty * np.eye(num_values)
    return np.linalg.solve(gram_DD, input_FD.T @ target_FK)


def ranked(score_UF: np.ndarray, relevant_UF: np.ndarray) -> dict[str, float]:
    """Return the means over users who like some of the films, and not all."""
    precisions, areas = [], []
    for score_F, relevant_F in zip(score_UF, relevant_UF.astype(bool), strict=True):
        num_relevant, num_films = relevant_F.sum(), len(relevant_F)
        if not 0 < num_relevant < num_films:
            continue
        order = np.argsort(-score_F, kind="stable")
        precisions.append(relevant_F[order[:K]].mean())
        places = np.flatnonzero(relevant_F[order]) + 1
        above = places.sum() - num_relevant * (num_relevant + 1) / 2
        areas.append(1 - above / (num_relevant * (num_films - num_relevant)))
    return {"p@10": float(np.mean(precisions)), "auc": float(np.mean(areas))}


def measured(
    plots: tuple[list[str], list[str]], films: Films, vectors: Vectors, *, num_splits: int
) -> dict[str, float]:
    """Return what one way to make vectors of texts is worth; cold films as means over splits."""
    asking_FD, asked_FD = map(vectors, plots)
    vector_FD = vectors([content.text for content in films.contents])
    cold = [cold_precision(films, vector_FD, seed=seed) for seed in range(num_splits)]
    found = {f"plot_r@{k}": recall_of_own(asking_FD, asked_FD, k) for k in (1, K)}
    found |= {f"cold_{name}": float(np.mean([one[name] for one in cold])) for name in cold[0]}
    return {name: round(value, 4) for name, value in found.items()}


def tf_idf(texts: Sequence[str]) -> Vectors:
    """Return vectors of TF-IDF, fitted on texts, with all words of two texts or more."""
    fitted = TfidfVectorizer(
        sublinear_tf=True, stop_words="english", min_df=2, dtype=np.float32
    ).fit(texts)
    return lambda asked: fitted.transform(asked).toarray()


def by_model(model: str) -> Callable[..., np.ndarray]:
    """Return the vectors of an embedder's item side, of texts and perhaps images beside them."""
    encoder = open_model(EmbedderConfig(model=model, policy="never"))

    def vectors(texts: Sequence[str], images: Sequence[bytes | None] | None = None) -> np.ndarray:
        beside = [None] * len(texts) if images is None else images
        contents = [Content(text or " ", one) for text, one in zip(texts, beside, strict=True)]
        return np.stack([answer.vector for answer in encoder.encode_items(contents)])

    return vectors


def main() -> None:
    """Measure a model and TF-IDF, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of movielens_posters")
    parser.add_argument("--model", default="small", help="small, nano, a folder, st:FOLDER")
    parser.add_argument("--splits", type=int, default=3, help="choices of films to take out")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    plots, films = told_twice(options.data), read_films(options.data)
    texts = [content.text for content in films.contents]
    ours = by_model(options.model)
    torch.set_num_threads(options.threads)
    ways = {"ours": ours, "rival": tf_idf([*texts, *plots[0], *plots[1]])}
    result = {
        name: measured(plots, films, vectors, num_splits=options.splits)
        for name, vectors in ways.items()
    }
    beside_FD = ours(plots[1], posters_of_told_twice(options.data))
    beside = recall_of_own(ours(plots[0]), beside_FD, 1)
    result["ours"]["plot_beside_poster_r@1"] = round(beside, 4)
    unit = f"R@k of 981 plots; means of {options.splits} splits of cold films"
    print(json.dumps({"unit": unit, "model": options.model, **result}))


if __name__ == "__main__":
    main()
