"""Whether the behaviour space finds what users liked next better than the content space does.

Shape legend: Q = queries, N = items, D = embedding dimension
"""

from collections.abc import Callable, Mapping

import numpy as np

from embedder.content import CatalogueEncoder
from evaluation.bootstrap import bootstrap_gains
from evaluation.metrics import Scores, means
from ponder.finetuning.frozen_set import FrozenSet
from ponder.finetuning.results import SpaceComparison


def compare_spaces(
    frozen: FrozenSet,
    behaviour: CatalogueEncoder,
    others: Mapping[str, CatalogueEncoder],
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> SpaceComparison:
    """Measure how well the nearest items of an item are those that its users liked next.

    Every space answers with the vectors of items alone, embedded directly, as a service does that
    looks stored vectors up; so instructions of queries play no part.

    Args:
        frozen: every query asks with an item.
        behaviour: reads items for the behaviour space.
        others: what it is held against, by name.
        seed: of the bootstrap over queries.
        progress: told how many more items were embedded.
    """
    own = _scores(frozen, behaviour, progress)
    found = {name: _scores(frozen, encoder, progress) for name, encoder in others.items()}
    return SpaceComparison(
        digest=frozen.digest,
        num_queries=len(frozen.queries),
        version=behaviour.version,
        metrics={name: means(scores) for name, scores in {"behaviour": own, **found}.items()},
        gain={name: bootstrap_gains(own, scores, seed=seed) for name, scores in found.items()},
    )


def _scores(
    frozen: FrozenSet, encoder: CatalogueEncoder, progress: Callable[[int], None]
) -> Scores:
    items = encoder.encode_items(list(frozen.contents.values()), policy="never", progress=progress)
    vectors_ND = np.stack([item.vector for item in items])
    row_of = {item_id: row for row, item_id in enumerate(frozen.contents)}
    asked_QD = vectors_ND[[row_of[query.item] for query in frozen.queries if query.item]]
    return frozen.evaluate(asked_QD, vectors_ND)
