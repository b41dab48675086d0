"""The rival of `bench.fashion`: a ridge from pixels to the vectors of titles, no training by steps.

Rebuilt from one line of the data set's README ("ridge from pixel PCA + random ReLU features to
TF-IDF/SVD titles"); sizes, scaling and the penalty are our reconstruction, so its numbers differ
from that line's by a few hundredths.

Shape legend: N = products, X = pixel values, F = features, D = dimension of title vectors
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

NUM_COMPONENTS, NUM_RANDOM, DIM = 200, 3000, 300
PENALTY = 3000.0
SIZE = (24, 32)  # width, height of the images it sees


def pixels(images: Sequence[bytes]) -> np.ndarray:
    """Return [N, X] the images made small, values in [0, 1]."""
    small = [Image.open(io.BytesIO(image)).convert("RGB").resize(SIZE) for image in images]
    return np.stack([np.asarray(image).ravel() for image in small]).astype(np.float32) / 255


def ridge_vectors(
    train_images: Sequence[bytes],
    train_texts: Sequence[str],
    images: Sequence[bytes],
    texts: Sequence[str],
    *,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return [N, D] vectors of the images and [N, D] of the texts, comparable by inner product.

    Args:
        train_images: encoded images to learn from.
        train_texts: their titles.
        images: encoded images to embed.
        texts: titles to embed.
        seed: decides the random features.
    """
    train_ND, text_ND = _text_vectors(train_texts, texts, seed)
    train_NF, feature_NF = _features(pixels(train_images), pixels(images), seed)
    mean_F, mean_D = train_NF.mean(axis=0), train_ND.mean(axis=0)
    centred_NF = train_NF - mean_F
    gram_FF = centred_NF.T @ centred_NF + PENALTY * np.eye(centred_NF.shape[1])
    weight_FD = np.linalg.solve(gram_FF, centred_NF.T @ (train_ND - mean_D))
    return normalize((feature_NF - mean_F) @ weight_FD + mean_D), text_ND


def _text_vectors(
    train_texts: Sequence[str], texts: Sequence[str], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    words = TfidfVectorizer(sublinear_tf=True).fit(train_texts)
    svd = TruncatedSVD(DIM, random_state=seed).fit(words.transform(train_texts))
    train_ND, text_ND = (svd.transform(words.transform(side)) for side in (train_texts, texts))
    return normalize(train_ND), normalize(text_ND)


def _features(
    train_NX: np.ndarray, pixels_NX: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    pca = PCA(NUM_COMPONENTS, random_state=seed).fit(train_NX)
    scale = np.sqrt(pca.explained_variance_)
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(NUM_COMPONENTS, NUM_RANDOM)) * 3 / np.sqrt(NUM_COMPONENTS)
    bias = rng.normal(size=NUM_RANDOM)
    sides = (pca.transform(train_NX) / scale, pca.transform(pixels_NX) / scale)
    train_NF, other_NF = (np.hstack([z, np.maximum(z @ weight + bias, 0)]) for z in sides)
    return train_NF, other_NF
