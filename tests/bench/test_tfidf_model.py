"""Tests for bench/tfidf_model.py: the folder is an embedder, its cosines those of scikit-learn."""

import numpy as np
import pytest

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is missing")
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from bench.tfidf_model import write_tfidf
from embedder.content import Content
from embedder.sentence.encoder import SentenceEncoder

TEXTS = [
    "a boat on a river",
    "the river and the boat",
    "a kite over a hill",
    "the hill, the kite and a boat",
    "a hill by a river",
    "unseen",
]


def test_vectors_are_tf_idf_on_its_first_singular_vectors(tmp_path):
    write_tfidf(TEXTS, tmp_path / "model", dim=3)
    encoder = SentenceEncoder.open(str(tmp_path / "model"))
    got = np.stack([one.vector for one in encoder.encode_items([Content(t) for t in TEXTS[:5]])])

    words = [[word.strip(",") for word in text.split()] for text in TEXTS]
    number = {word: sum(word in text for text in words) for text in words for word in text}
    known = sorted(word for word, films in number.items() if films >= 2)
    matrix = np.array(
        [[text.count(word) * np.log(len(TEXTS) / number[word]) for word in known] for text in words]
    )
    axes = TruncatedSVD(3, algorithm="arpack", random_state=0).fit(normalize(matrix))
    expected = normalize(axes.transform(matrix[:5]))
    np.testing.assert_allclose(got @ got.T, expected @ expected.T, atol=1e-5)
