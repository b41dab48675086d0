"""Tests for costs.py: seconds that a fake clock tells, into tokens."""

import numpy as np
import pytest

from embedder.content import Encoding
from embedder.finetune.gate.costs import silent_tokens

SECONDS = {"never": [1.0, 1.2, 1.1], "silent": [1.9, 1.5, 1.6], "always": [6.0, 5.0, 7.0]}


def measured(num_tokens):
    now, rounds = [0.0], {policy: iter(seconds) for policy, seconds in SECONDS.items()}

    def encode(policy):
        now[0] += next(rounds[policy])
        tokens = num_tokens if policy == "always" else (0, 0)
        return [Encoding(np.ones(1), "direct", 0.5, rationale_tokens=one) for one in tokens]

    return silent_tokens(encode, clock=lambda: now[0])


def test_silence_costs_the_tokens_that_take_as_long_beyond_a_direct_answer():
    # The best rounds: 1.5 - 1.0 against 5.0 - 1.0 for 20 tokens a content.
    assert measured((30, 10)) == pytest.approx(0.5 / 4.0 * 20)


def test_without_rationales_there_is_nothing_to_measure_by():
    with pytest.raises(ValueError, match="reasoning must take time to tell what silence costs"):
        measured((0, 0))
