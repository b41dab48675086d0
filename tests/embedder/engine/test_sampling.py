"""Tests for embedder/engine/sampling.py: what is drawn, and what it does not depend on."""

import torch

from embedder.engine.sampling import SeededDraw, SeededSampling, likeliest

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


def test_no_control_token_comes_into_a_rationale_however_likely(inputs):
    plain = 7 + len(inputs.tokenizer) // 2
    forbidden = torch.tensor(inputs.forbidden_ids)
    for token in ("<|im_end|>", "<|image_pad|>", "<|direct|>", "<|reason|>", "<|endoftext|>"):
        logits = torch.zeros(1, len(inputs.tokenizer))
        logits[0, inputs.tokenizer.convert_tokens_to_ids(token)] = 9.0
        logits[0, plain] = 5.0
        assert likeliest(logits, forbidden=forbidden) == [plain]
    for token in ("<|summary|>", "<|emb|>"):
        wanted = inputs.tokenizer.convert_tokens_to_ids(token)
        logits = torch.zeros(1, len(inputs.tokenizer))
        logits[0, wanted] = 9.0
        assert likeliest(logits, forbidden=forbidden) == [wanted]


def test_a_sequence_draws_with_its_own_generator_wherever_it_stands_in_the_batch():
    """Three sequences in turn, then one that has moved to another row beside a newcomer."""
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    together = SeededSampling("abc", temperature=1.0, forbidden=[7])
    alone = SeededSampling("abc", temperature=1.0, forbidden=[7])
    first, second = together(logits, [0, 1, 2]), together(logits[[2, 0]], [2, 0])
    assert [alone(logits[[2]], [2]), alone(logits[[2]], [2])] == [first[2:], second[:1]]


def test_a_forbidden_token_is_never_drawn():
    logits = torch.zeros(1, 3)
    logits[0, 1] = 9.0
    sampling = SeededSampling(["a"], temperature=1.0, forbidden=[1])
    assert {sampling(logits, [0])[0] for _ in range(50)} == {0, 2}
