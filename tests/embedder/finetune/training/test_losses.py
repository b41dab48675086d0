"""Tests for embedder/finetune/training/losses.py: closed-form values only."""

import math

import pytest
import torch

from embedder.finetune.training.losses import info_nce, matryoshka_info_nce


def unit_rows(*rows):
    return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)


def test_loss_is_log_batch_size_when_all_similarities_are_equal():
    same = unit_rows([1.0, 0.0], [1.0, 0.0], [1.0, 0.0])
    loss = info_nce(same, same, contrastive_temperature=0.1)
    torch.testing.assert_close(loss, torch.tensor(math.log(3)))


def test_loss_matches_hand_computed_value():
    eye = unit_rows([1.0, 0.0], [0.0, 1.0])
    # logits [[2, 0], [0, 2]] at T = 0.5: log(1 + e^-2) in both directions
    loss = info_nce(eye, eye, contrastive_temperature=0.5)
    torch.testing.assert_close(loss, torch.tensor(math.log1p(math.exp(-2.0))))


def test_both_directions_are_scored_and_averaged():
    query = unit_rows([1.0, 0.0], [1.0, 0.0])
    target = unit_rows([1.0, 0.0], [0.0, 1.0])
    # cosines [[1, 0], [1, 0]]. Queries: rows (1, 0) and (1, 0). Targets: columns (1, 1), (0, 0).
    queries = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    targets = math.log(2)
    loss = info_nce(query, target, contrastive_temperature=1.0)
    torch.testing.assert_close(loss, torch.tensor((queries + targets) / 2))


def test_a_false_negative_is_left_out_and_the_own_target_never_is():
    query = unit_rows([1.0, 0.0], [0.6, 0.8], [0.0, 1.0])
    everything = torch.ones(3, 3, dtype=torch.bool)
    loss = info_nce(query, query, contrastive_temperature=0.1, is_false_negative_BN=everything)
    assert loss.item() == 0.0


def test_targets_past_the_batch_are_negatives_only():
    query = unit_rows([1.0, 0.0])
    target = unit_rows([1.0, 0.0], [1.0, 0.0])
    # Query: log 2 against the extra target. Target: one query, nothing to contrast, 0.
    loss = info_nce(query, target, contrastive_temperature=1.0)
    torch.testing.assert_close(loss, torch.tensor(math.log(2) / 2))


def test_matryoshka_is_the_mean_over_normalised_prefixes():
    query = unit_rows([0.3, 0.4, 0.5], [0.1, -0.7, 0.2])
    target = unit_rows([0.2, 0.4, -0.5], [0.6, -0.1, 0.2])
    short = [torch.nn.functional.normalize(x[:, :2], dim=-1) for x in (query, target)]
    expected = (
        info_nce(*short, contrastive_temperature=0.2)
        + info_nce(query, target, contrastive_temperature=0.2)
    ) / 2
    loss = matryoshka_info_nce(query, target, dims=(2, 3), contrastive_temperature=0.2)
    torch.testing.assert_close(loss, expected)


def test_a_query_without_a_target_is_refused():
    with pytest.raises(ValueError, match="got 2 queries and 1 targets"):
        info_nce(torch.eye(2), torch.eye(2)[:1], contrastive_temperature=1.0)


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="must be > 0, got 0"):
        info_nce(torch.eye(2), torch.eye(2), contrastive_temperature=0)


def test_a_negative_that_is_nearer_than_the_own_target_by_the_margin_is_left_out():
    query = unit_rows([1.0, 0.0], [0.0, 1.0])
    target = unit_rows([0.6, 0.8], [1.0, 0.0])
    # Cosines [[0.6, 1], [0.8, 0]]. Queries: 1 > 0.6 + 0.3 is left out, 0.8 > 0 + 0.3 as well.
    # Targets: the other query has 0.8 against 0.6, within 0.3, and 1 against 0, left out.
    loss = info_nce(query, target, contrastive_temperature=1.0, false_negative_margin=0.3)
    expected = (0 + 0 + math.log1p(math.exp(0.8 - 0.6)) + 0) / 4
    torch.testing.assert_close(loss, torch.tensor(expected))


@pytest.fixture(scope="module")
def their_losses():
    return pytest.importorskip(
        "sentence_transformers.sentence_transformer.losses",
        reason="sentence-transformers is not installed",
    )


class GivenVectors(torch.nn.Module):
    """A model of sentence-transformers' making whose embeddings are its inputs."""

    def forward(self, features):
        return {"sentence_embedding": features["vectors"]}

    def get_embedding_dimension(self):
        return 8


@pytest.mark.parametrize("num_negatives", [0, 3])
def test_loss_is_that_of_sentence_transformers(their_losses, num_negatives):
    """Hard negatives are contrasted with queries only."""
    generator = torch.Generator().manual_seed(0)
    query, target, hard = (
        torch.nn.functional.normalize(torch.randn(n, 8, generator=generator), dim=-1)
        for n in (4, 4, 4)
    )
    columns = [{"vectors": query}, {"vectors": target}]
    backward = their_losses.MultipleNegativesRankingLoss(GivenVectors(), scale=20)(
        columns[::-1], None
    )
    if num_negatives:
        columns.append({"vectors": hard})
    forward = their_losses.MultipleNegativesRankingLoss(GivenVectors(), scale=20)(columns, None)
    targets = torch.cat([target, hard]) if num_negatives else target
    ours = info_nce(query, targets, contrastive_temperature=0.05)
    torch.testing.assert_close(ours, (forward + backward) / 2, atol=1e-6, rtol=1e-5)


def test_matryoshka_loss_is_that_of_sentence_transformers(their_losses):
    generator = torch.Generator().manual_seed(1)
    query, target = (
        torch.nn.functional.normalize(torch.randn(4, 8, generator=generator), dim=-1)
        for _ in range(2)
    )
    model = GivenVectors()
    theirs = their_losses.MatryoshkaLoss(
        model,
        their_losses.MultipleNegativesRankingLoss(
            model,
            scale=20,
            directions=("query_to_doc", "doc_to_query"),
            partition_mode="per_direction",
        ),
        matryoshka_dims=[2, 5, 8],
    )([{"vectors": query}, {"vectors": target}], None)
    ours = matryoshka_info_nce(query, target, dims=(2, 5, 8), contrastive_temperature=0.05)
    torch.testing.assert_close(3 * ours, theirs, atol=1e-6, rtol=1e-5)  # theirs is a sum


class GivenVectorsWithTokenizer(GivenVectors):
    """The same where a loss asks for a tokenizer, to see that guide and model share one."""

    max_seq_length = 8

    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer


def test_a_margin_leaves_out_what_gistembed_leaves_out(their_losses, tokenizer):
    """Its margin is subtracted from the positive's similarity, ours is added."""
    generator = torch.Generator().manual_seed(2)
    query, target = (
        torch.nn.functional.normalize(torch.randn(8, 8, generator=generator), dim=-1)
        for _ in range(2)
    )
    model = GivenVectorsWithTokenizer(tokenizer)
    gist = their_losses.GISTEmbedLoss(
        model,
        guide=model,
        temperature=0.05,
        margin=-0.3,
        contrast_anchors=False,
        contrast_positives=False,
    )
    columns = [{"vectors": query}, {"vectors": target}]
    theirs = (gist(columns, None) + gist(columns[::-1], None)) / 2
    ours = info_nce(query, target, contrastive_temperature=0.05, false_negative_margin=0.3)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    without = info_nce(query, target, contrastive_temperature=0.05)
    assert ours < without - 0.1
