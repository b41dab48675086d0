"""TF-IDF of a catalogue's texts as a sentence-transformers model: the floor for any embedder.

    python -m bench.tfidf_model --data FOLDER --out FOLDER [--dim 256]

`--data` is the data set `movielens_posters`. The folder that is written is an embedder like any
other (`ponder --model st:FOLDER`): words of two films or more, their counts times their idf,
projected on the first singular vectors of the catalogue's own matrix (latent semantic analysis),
at unit length. Images are not looked at.

Shape legend: N = films, V = words, D = dimensions kept
"""

import argparse
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import BoW

from bench.films_data import read_films

WORD = re.compile(r"[a-z0-9']+")
MIN_FILMS = 2  # in which a word stands, to count


def write_tfidf(texts: Sequence[str], out: Path, *, dim: int, seed: int = 0) -> None:
    """Fit to texts and write the model's folder.

    Args:
        texts: of the catalogue.
        out: the folder.
        dim: D, less than the number of texts and of words.
        seed: of the decomposition.
    """
    counts = [Counter(WORD.findall(text.lower())) for text in texts]
    num_texts_of = Counter(word for counted in counts for word in counted)
    words = sorted(word for word, number in num_texts_of.items() if number >= MIN_FILMS)
    idf = {word: math.log(len(texts) / num_texts_of[word]) for word in words}
    row_of = {word: row for row, word in enumerate(words)}
    entries = [
        (row, row_of[word], number * idf[word])
        for row, counted in enumerate(counts)
        for word, number in counted.items()
        if word in row_of
    ]
    rows, columns, values = (np.array(column) for column in zip(*entries, strict=True))
    matrix_NV = csr_matrix((values, (rows, columns)), shape=(len(texts), len(words)))
    length_N = np.maximum(np.sqrt(matrix_NV.multiply(matrix_NV).sum(axis=1)).A1, 1e-12)
    matrix_NV = matrix_NV.multiply(1 / length_N[:, None]).tocsr()
    _, _, axes_DV = svds(matrix_NV, k=dim, rng=np.random.default_rng(seed))
    projection = Dense(len(words), dim, bias=False, activation_function=torch.nn.Identity())
    with torch.no_grad():
        projection.linear.weight.copy_(torch.from_numpy(axes_DV.copy()).float())
    bag = BoW(vocab=words, word_weights=idf, unknown_word_weight=0)
    model = SentenceTransformer(modules=[bag, projection, Normalize()], device="cpu")
    model.save(str(out), create_model_card=False)


def main() -> None:
    """Parse the arguments and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dim", type=int, default=256)
    args = parser.parse_args()
    write_tfidf([film.text for film in read_films(args.data).contents], args.out, dim=args.dim)


if __name__ == "__main__":
    main()
