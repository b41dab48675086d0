"""Tests for embedder/engine/sampling.py: what is drawn, and what it does not depend on."""

import torch

from embedder.engine.sampling import SeededDraw

IDS = torch.zeros(1, 1, dtype=torch.long)


def test_tokens_are_drawn_with_the_softmax_of_the_scaled_logits():
    logits = torch.tensor([[0.0, 1.0, 2.0, float("-inf")]])
    temperature, num_draws = 2.0, 4_000
    rows = [f"seed {n}" for n in range(num_draws)]
    drawn = SeededDraw(rows, temperature=temperature)(IDS, logits.expand(num_draws, -1))
    shares = torch.bincount(drawn.argmax(dim=1), minlength=4) / num_draws
    expected = torch.softmax(logits[0] / temperature, dim=0)
    # Three standard deviations of a share near 1/2 over 4,000 draws.
    torch.testing.assert_close(shares, expected, atol=0.024, rtol=0)
    assert shares[3] == 0


def test_a_sequence_draws_the_same_in_any_batch():
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    together = SeededDraw(["a", "b", "c"], temperature=1.0)
    alone = SeededDraw(["b"], temperature=1.0)
    for _ in range(3):
        assert torch.equal(together(IDS, logits)[1:2], alone(IDS, logits[1:2]))
