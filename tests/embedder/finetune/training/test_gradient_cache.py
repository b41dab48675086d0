"""Tests for gradient_cache.py against the library's; test_joint_loss.py has it at work."""

import pytest
import torch
import torch.nn.functional as F

from embedder.finetune.training.distributed import Processes
from embedder.finetune.training.gradient_cache import cached_backward
from embedder.finetune.training.losses import info_nce


class Projection(torch.nn.Sequential):
    """A model of sentence-transformers' making: one linear layer on given features."""

    device = torch.device("cpu")

    def forward(self, features):
        return features | {"sentence_embedding": self[0](features["input_ids"])}


@pytest.mark.parametrize("chunk_size", [None, 2, 5])
def test_gradients_are_those_of_the_cached_ranking_loss(chunk_size):
    losses = pytest.importorskip(
        "sentence_transformers.sentence_transformer.losses",
        reason="sentence-transformers is not installed",
    )
    generator = torch.Generator().manual_seed(0)
    query, target = (torch.randn(6, 8, generator=generator) for _ in range(2))
    model = Projection(torch.nn.Linear(8, 4))
    weight = model[0].weight
    theirs = losses.CachedMultipleNegativesRankingLoss(
        model,
        scale=20,
        mini_batch_size=2,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )([{"input_ids": query}, {"input_ids": target}], None)
    theirs.backward()
    expected, weight.grad = weight.grad, None

    def forward(chunk, with_losses):
        return F.normalize(model[0](torch.stack(list(chunk))), dim=-1)[:, None], {}

    def contrast(vectors_N1D):
        query_BD, target_BD = vectors_N1D[:, 0].chunk(2)
        return {"contrast": info_nce(query_BD, target_BD, contrastive_temperature=0.05)}

    found = cached_backward(
        [*query, *target], forward, contrast, chunk_size=chunk_size, processes=Processes()
    )
    assert found["contrast"] == pytest.approx(theirs.item(), rel=1e-5)
    torch.testing.assert_close(
        weight.grad / expected.norm(), expected / expected.norm(), atol=1e-5, rtol=0
    )
