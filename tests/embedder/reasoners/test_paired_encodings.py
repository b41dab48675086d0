"""Tests for embedder/reasoners/paired_encodings.py: any theta from one encoding of each kind."""

import numpy as np
import pytest

from embedder.content import Content, Encoding
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.reasoners.paired_encodings import paired_encodings
from embedder.reasoners.reasoner import Rationale

GATES = (0.2, 0.5, 0.9)


def encode(policy):
    reasons = policy == "always"
    vectors = np.eye(6, dtype=np.float32)[3 * reasons :][:3]
    if not reasons:
        return [Encoding(v, "direct", g) for v, g in zip(vectors, GATES, strict=True)]
    encodings = [
        Encoding(v, "reason", g, "why", "what", 7) for v, g in zip(vectors, GATES, strict=True)
    ]
    encodings[1] = Encoding(vectors[1], "direct", 0.5, fallback="away")
    return encodings


@pytest.mark.parametrize(("theta", "reasons"), [(0, [0, 1, 2]), (0.5, [1, 2]), (0.91, [])])
def test_at_a_theta_those_at_or_above_it_have_their_reasoned_vector(theta, reasons):
    expected = np.eye(6)[[3 + row if row in reasons else row for row in range(3)]]
    vectors = paired_encodings(encode).vectors("auto", theta=theta)
    np.testing.assert_array_equal(vectors, expected)


def test_a_policy_that_overrules_the_gate_takes_one_kind_of_vector_for_all():
    paired = paired_encodings(encode)
    np.testing.assert_array_equal(paired.vectors("never", theta=0.5), paired.direct_ND)
    np.testing.assert_array_equal(paired.vectors("always", theta=0.5), paired.reasoned_ND)


def test_rationales_tokens_and_fallbacks_are_those_of_the_reasoned_encodings():
    paired = paired_encodings(encode)
    assert paired.rationales == [
        Rationale("why", "what", 7),
        Rationale(""),
        Rationale("why", "what", 7),
    ]
    assert paired.tokens_N.tolist() == [7, 0, 7]
    assert paired.num_fallbacks == 1
    assert paired.first(2).rationales == paired.rationales[:2]
    assert len(paired.first(2).vectors("auto", theta=0)) == 2


def test_the_vectors_of_a_theta_are_those_of_an_encoder_with_it(checkpoint):
    contents = [Content("3 red mugs"), Content("kites"), Content("blue boats")]
    model = MMEmbR1(checkpoint, EmbedderConfig())
    paired = paired_encodings(lambda policy: model.encode_query(contents, policy=policy))
    auto = model.encode_query(contents, policy="auto")
    expected = [encoding.vector for encoding in auto]
    vectors = paired.vectors("auto", theta=checkpoint.manifest.theta)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
