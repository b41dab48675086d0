"""Item-item similarity of collaborative filtering: co-counts, cosine, Swing, PPMI.

Shape legend: U = users, I = items, N = users of one item, M = items of these users
"""

import numpy as np
from scipy.sparse import csr_array, diags_array


def co_counts(liked_UI: csr_array) -> csr_array:
    """Return [I, I], how many users liked both items; nothing on the diagonal."""
    counts = (liked_UI.T @ liked_UI).tocsr()
    counts.setdiag(0)
    counts.eliminate_zeros()
    return counts


def cosine(liked_UI: csr_array) -> csr_array:
    """Cosine similarity of items' columns, [I, I] in [0, 1]: common users over the geometric mean.

    Nothing on the diagonal. (Item-based collaborative filtering: Sarwar et al. 2001.)
    """
    counts = co_counts(liked_UI).tocoo()
    num_users_I = liked_UI.sum(axis=0)
    scale = np.sqrt(num_users_I[counts.row] * num_users_I[counts.col])
    return csr_array((counts.data / scale, (counts.row, counts.col)), shape=counts.shape)


def swing(liked_UI: csr_array, *, alpha: float = 1.0, max_users: int = 500) -> csr_array:
    """Swing scores of items, [I, I], >= 0, with nothing on the diagonal.

    Two users who both liked two items are a "swing". It says the more, the less else they share::

        s(i, j) = sum over pairs {u, v} of users who liked both of
                  w(u) w(v) / (alpha + number of items that both u and v liked)
        w(u) = 1 / sqrt(number of items that u liked)

    (Yang et al. 2020, arXiv 2010.05525, section 3.1; each pair of different users is counted once.)
    An item of more than `max_users` users is scored by those with the fewest items, who weigh most;
    such a score is a lower bound, and the one of the two items that gives more is taken for both.

    Args:
        liked_UI: 1.0 where a user liked an item.
        alpha: softens the differences between small overlaps; > 0.
        max_users: most users looked at for an item; the cost of an item grows with their square.
    """
    num_items_U = liked_UI.sum(axis=1)
    by_item = liked_UI.tocsc()
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for item in range(liked_UI.shape[1]):
        users_N = by_item.indices[by_item.indptr[item] : by_item.indptr[item + 1]]
        lightest = np.lexsort((users_N, num_items_U[users_N]))[:max_users]
        users_N = users_N[lightest]
        columns_M, scores_M = _swings(liked_UI[users_N], num_items_U[users_N], alpha)
        kept_M = (columns_M != item) & (scores_M > 0)
        found.append((np.full(kept_M.sum(), item), columns_M[kept_M], scores_M[kept_M]))
    rows, columns, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    one_way = csr_array((scores, (rows, columns)), shape=(liked_UI.shape[1],) * 2)
    return one_way.maximum(one_way.T)


def _swings(
    liked: csr_array, num_items_N: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return columns that the users liked and what all pairs of these users add up to there."""
    columns_M = np.unique(liked.indices)
    liked_NM = liked[:, columns_M]
    overlap_NN = (liked_NM @ liked_NM.T).toarray()
    weight_N = 1 / np.sqrt(num_items_N)
    swing_NN = weight_N[:, None] * weight_N / (alpha + overlap_NN)
    np.fill_diagonal(swing_NN, 0)
    # Row u of the product sums the partners of u that liked the column; half, as u and v swap.
    twice_M = liked_NM.multiply((liked_NM.T @ swing_NN).T).sum(axis=0)
    return columns_M, twice_M / 2


def ppmi(liked_UI: csr_array) -> csr_array:
    """Positive pointwise mutual information (PPMI) of being liked by one user, [I, I], in nats.

    ``max(0, log(n(i, j) n / (n(i) n(j))))`` where n(i, j) counts the users of both items, n(i) is
    its sum over j and n over both; nothing on the diagonal.
    """
    counts = co_counts(liked_UI)
    sum_I = counts.sum(axis=1)
    inverse = diags_array(np.divide(1.0, sum_I, out=np.zeros_like(sum_I), where=sum_I > 0))
    ratio = (inverse @ counts @ inverse * counts.sum()).tocsr()
    ratio.data = np.maximum(np.log(ratio.data), 0.0)
    ratio.eliminate_zeros()
    return ratio
