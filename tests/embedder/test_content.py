"""Tests for embedder/content.py."""

import numpy as np
import pytest
import torch

from embedder.content import prefix, reasons


def test_a_prefix_is_cut_and_normalised_again():
    vectors_ND = np.array([[0.6, 0.0, 0.8], [0.3, 0.4, 0.5]])
    np.testing.assert_allclose(prefix(vectors_ND, 2), [[1.0, 0.0], [0.6, 0.8]])


@pytest.mark.parametrize("dim", [0, 4])
def test_a_prefix_longer_than_the_vector_is_refused(dim):
    with pytest.raises(ValueError, match=rf"dim must be in \[1, 3\], got {dim}"):
        prefix(np.eye(3), dim)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("auto", [False, True, True]), ("always", [True] * 3), ("never", [False] * 3)],
)
def test_one_rule_decides_for_one_input_and_for_many(policy, expected):
    gates = [0.0, 0.5, 1.0]
    assert [reasons(gate, policy=policy, theta=0.5) for gate in gates] == expected
    for many in (np.array(gates), torch.tensor(gates)):
        assert reasons(many, policy=policy, theta=0.5).tolist() == expected
