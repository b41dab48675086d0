"""Bank of targets that the gate's rewards are measured against: stage-1 vectors of all sides.

They are computed once by the frozen reference, in direct mode, so that a reward is measured against
many negatives and moves with the policy's own embedding alone.

Shape legend: M = vectors to judge, N = candidates, D = embedding dimension
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from embedder.content import Content, Side
from embedder.finetune.data.pairs import Pair
from embedder.finetune.gate.rewards import Similarities
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.forward import PromptWithAnswers
from embedder.prompting.answers import direct_answer
from embedder.version import Manifest


@dataclass(frozen=True, slots=True)
class Embeddings:
    """All distinct contents of one side of one source."""

    row_of: dict[str, int]
    """Row of each key, in the keys' order."""

    vectors_ND: torch.Tensor


class TargetBank:
    """Direct embeddings of both sides of all pairs, by an unchanging model."""

    def __init__(
        self,
        model: CachedForward,
        manifest: Manifest,
        pairs: Sequence[Pair],
        *,
        batch_size: int,
        max_targets: int,
    ) -> None:
        """Embed every distinct content once.

        Args:
            model: reads with the reference.
            manifest: its instructions.
            pairs: of any number of sources; only contents of one source are candidates together.
            batch_size: contents that are embedded at once.
            max_targets: of a side and source; of more, those with the first keys are taken, and
                the partners themselves.
        """
        self._answered: dict[tuple[str, str], set[str]] = {}
        for pair in pairs:
            known = self._answered.setdefault((pair.source, pair.query_key), set())
            known |= {pair.target_key, *pair.answers}
        self._max_targets = max_targets
        self._of: dict[tuple[str, Side], Embeddings] = {}
        for source in sorted({pair.source for pair in pairs}):
            own = [pair for pair in pairs if pair.source == source]
            chosen = manifest.for_source(source)
            queries = {pair.query_key: pair.query for pair in own}
            targets = {pair.target_key: pair.target for pair in own}
            self._of[source, "query"] = _embedded(
                model, queries, chosen.query_instruction, batch_size=batch_size
            )
            self._of[source, "item"] = _embedded(
                model, targets, chosen.item_instruction, batch_size=batch_size
            )

    def similarities(
        self, vectors_MD: torch.Tensor, pairs: Sequence[Pair], side: Side
    ) -> Similarities:
        """Return cosines of each vector with its partner and the candidates of the partner's side.

        Args:
            vectors_MD: L2-normalised.
            pairs: that of each vector, all of one source.
            side: which side of its pair each vector is.
        """
        candidates = self._of[pairs[0].source, "item" if side == "query" else "query"]
        partners = [pair.target_key if side == "query" else pair.query_key for pair in pairs]
        own = [candidates.row_of[key] for key in partners]
        keys = list(candidates.row_of)[: self._max_targets]
        is_negative = [[self._is_negative(pair, key, side) for key in keys] for pair in pairs]
        cosine_MN = vectors_MD @ candidates.vectors_ND.T
        return Similarities(
            cosine_MN[torch.arange(len(own)), torch.tensor(own)],
            cosine_MN[:, : len(keys)],
            torch.tensor(is_negative, device=vectors_MD.device),
        )

    def _is_negative(self, pair: Pair, key: str, side: Side) -> bool:
        if side == "query":
            return key not in self._answered[pair.source, pair.query_key]
        return pair.target_key not in self._answered[pair.source, key]


@torch.no_grad()
def _embedded(
    model: CachedForward, contents: dict[str, Content], instruction: str, *, batch_size: int
) -> Embeddings:
    keys = sorted(contents)
    answers = (direct_answer(model.inputs),)
    prompted = [
        PromptWithAnswers(model.sample(contents[key], instruction), answers) for key in keys
    ]
    vectors = [
        model.forward(chunk, with_tokens=False).vectors_NH
        for chunk in _chunks(prompted, batch_size)
    ]
    return Embeddings({key: row for row, key in enumerate(keys)}, torch.cat(vectors))


def _chunks(
    prompted: Sequence[PromptWithAnswers], size: int
) -> Iterable[Sequence[PromptWithAnswers]]:
    return (prompted[start : start + size] for start in range(0, len(prompted), size))
