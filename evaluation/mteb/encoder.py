"""A model version under one policy, as the `mteb` library calls it.

mteb is imported when it is first needed: it takes seconds and is an extra.

Shape legend: N, Q, P = contents, queries, documents; D = embedding dimension.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.content import CatalogueEncoder, Content, Failure, Policy, Side
from evaluation.exact_ranking import scores
from evaluation.mteb.contents import contents, encoded
from evaluation.mteb.costs import CostFile, SideCost

if TYPE_CHECKING:
    from mteb.models import ModelMeta

logger = logging.getLogger(__name__)
WORST = -1.0  # the least cosine


class PolicyEncoder:
    """An encoder as mteb's `EncoderProtocol` has it; both sides follow the policy.

    Queries are read as the product reads queries, and all else as items: what a task compares
    without asking (sentences, labels, images of a class) has no side of its own. The instructions
    are the version's; those that mteb keeps for some tasks are for models trained with them.
    """

    def __init__(
        self,
        encoder: CatalogueEncoder,
        policy: Policy,
        *,
        conditions: Mapping[str, float],
        cost_file: Callable[[str], CostFile],
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Keeps an encoder.

        Args:
            encoder: of any kind.
            policy: of both sides.
            conditions: what else decides about vectors and is not in the encoder's version, by
                name; results under other conditions are other results.
            cost_file: gives the file of a task's costs by the task's name.
            progress: told how many more contents were encoded.
        """
        self._encoder, self._policy = encoder, policy
        self._conditions = {"policy": policy, **conditions}
        self._cost_file, self._progress = cost_file, progress

    @cached_property
    def mteb_model_meta(self) -> "ModelMeta":
        """What mteb files results under: the version, and policy and other conditions."""
        from mteb.models import ModelMeta
        from mteb.models.model_meta import ScoringFunction

        return ModelMeta.create_empty(
            {
                "name": f"ponder/{self._encoder.name}",
                "revision": self._encoder.version,
                "embed_dim": self._encoder.dim,
                "similarity_fn_name": ScoringFunction.COSINE,
                "framework": ["PyTorch"],
                "modalities": ["text", "image"] if reads_images(self._encoder) else ["text"],
                "experiment_kwargs": self._conditions,
            }
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: str | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Encode to [N, D] float32, L2-normalised; a row of zeros for what cannot be embedded.

        Args:
            inputs: batches, as `contents` reads them.
            task_metadata: whose name the costs are kept under.
            hf_split: of the task's data.
            hf_subset: of the task's data, such as a language.
            prompt_type: `query` for queries.
            kwargs: of sentence-transformers; they change nothing here.

        Raises:
            Exception: that of the first content, when none could be embedded.
        """
        side: Side = "query" if prompt_type == "query" else "item"
        stream = self._encoder.stream_queries if side == "query" else self._encoder.stream_items
        vectors: dict[int, np.ndarray] = {}
        failures: list[Failure] = []
        num_reasoned = rationale_tokens = 0
        started = time.perf_counter()
        for number, answer in stream(contents(inputs), policy=self._policy):
            if isinstance(answer, Failure):
                failures.append(answer)
                vectors[number] = np.zeros(self._encoder.dim, np.float32)
            else:
                vectors[number] = answer.vector
                num_reasoned += answer.action == "reason"
                rationale_tokens += answer.rationale_tokens
            self._progress(1)
        cost = SideCost(
            num_contents=len(vectors),
            num_reasoned=num_reasoned,
            num_failed=len(failures),
            rationale_tokens=rationale_tokens,
            seconds=time.perf_counter() - started,
        )
        _report(task_metadata.name, side, failures, num_contents=len(vectors))
        self._cost_file(task_metadata.name).add(f"{hf_split}/{hf_subset}", side, cost)
        return np.stack([vectors[number] for number in range(len(vectors))])

    def similarity(self, query_vectors_QD: Any, item_vectors_PD: Any) -> np.ndarray:
        """Return [Q, P] cosines to six decimals, as everywhere in this project.

        Equal documents then tie, whatever batch they came in, and mteb orders ties by id. What
        could not be embedded has the least cosine there is.
        """
        items_PD = np.asarray(item_vectors_PD)
        cosines = scores(np.asarray(query_vectors_QD), items_PD)
        score_QP = np.stack([score_P.astype(np.float32) for score_P in cosines])
        score_QP[:, ~items_PD.any(axis=1)] = WORST
        return score_QP

    def similarity_pairwise(self, left_ND: Any, right_ND: Any) -> np.ndarray:
        """Return [N] cosines, row by row."""
        return np.einsum("nd,nd->n", np.asarray(left_ND), np.asarray(right_ND), dtype=np.float64)


def reads_images(encoder: CatalogueEncoder) -> bool:
    """Return whether an image alone is something that the encoder embeds."""
    from PIL import Image

    return encoder.refusal(Content(image=encoded(Image.new("RGB", (64, 64))))) is None


def _report(task: str, side: Side, failures: list[Failure], *, num_contents: int) -> None:
    if not failures:
        return
    if len(failures) == num_contents:
        raise failures[0].error
    logger.warning(
        "task=%s side=%s failed=%d of=%d first=%s",
        *(task, side, len(failures), num_contents, failures[0].reason),
    )
